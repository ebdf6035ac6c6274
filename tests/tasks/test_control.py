"""Control: a model along a hint is a new one; branches add; hints are stretched and it is said."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from models import latent_text_model, unet_model
from PIL import Image
from torch import Tensor

from inkdrop.model import Model
from inkdrop.networks.control import Controlled, ControlNet, ControlNetConfig
from inkdrop.networks.unet import UNet, UNetConfig
from inkdrop.tasks.control import controlled, read_hint
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling

SAMPLING = Sampling(sampler="ddim", grid="logsnr", steps=3)


def branch(model: Model, seed: int = 1, widths: tuple[int, ...] = (4, 6, 8)) -> ControlNet:
    """A control network with random weights for this model's U-Net, whose hint is in pixels."""
    torch.manual_seed(seed)
    network = model.network
    assert isinstance(network, UNet)
    made = ControlNet(ControlNetConfig(network.config, hint_widths=widths))
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return made.eval().requires_grad_(False)


def hint(seed: int = 0) -> Tensor:
    return torch.rand(1, 3, 16, 16, generator=torch.Generator().manual_seed(seed))


def last(model: Model, samples: int = 2) -> Tensor:
    for step in generate(model, samples=range(samples), sampling=SAMPLING):
        x = step.x
    return x


def predicted(model: Model) -> Tensor:
    """x_0 of one call."""
    x = torch.randn(2, *model.shape, generator=torch.Generator().manual_seed(5))
    t = torch.full((2,), 0.6, dtype=torch.float64)
    return model.denoise(x, t, model.null(2))


def test_the_given_model_stays_as_it_is() -> None:
    model = unet_model(latent=True)
    network, before = model.network, {n: v.clone() for n, v in model.network.state_dict().items()}
    plain = last(model)
    along = controlled(model, branch(model), hint())
    assert not torch.equal(last(along), plain)
    assert model.network is network and torch.equal(last(model), plain)
    assert all(torch.equal(before[n], v) for n, v in network.state_dict().items())
    # A second control goes to a third model, and the one with a single control stays too.
    single = last(along)
    twice = controlled(along, branch(model, 2), hint(1))
    assert isinstance(along.network, Controlled) and isinstance(twice.network, Controlled)
    assert len(along.network.controls) == 1 and len(twice.network.controls) == 2
    assert torch.equal(last(along), single) and not torch.equal(last(twice), single)


def test_strength_0_is_the_model_alone_to_the_bit() -> None:
    model = unet_model(latent=True)
    assert torch.equal(last(controlled(model, branch(model), hint(), 0.0)), last(model))
    new = ControlNet.beside(model.network)  # type: ignore[arg-type]
    pixels = unet_model(latent=False)
    config = ControlNetConfig(new.config, hint_widths=(4, 6, 8))
    # A new branch ends in zeros, and adds nothing whatever its strength.
    assert torch.equal(last(controlled(model, ControlNet(config), hint(), 2.0)), last(model))
    with pytest.raises(ValueError, match="in_channels"):
        controlled(pixels, branch(model), hint())


@torch.no_grad()
def test_two_controls_add() -> None:
    model = unet_model(latent=True)
    one = branch(model)
    whole = predicted(controlled(model, one, hint(), 1.0))
    split = predicted(controlled(controlled(model, one, hint(), 0.3), one, hint(), 0.7))
    torch.testing.assert_close(split, whole, rtol=0, atol=1e-5)
    other = branch(model, 2)
    ab = predicted(controlled(controlled(model, one, hint(), 0.5), other, hint(1), 2.0))
    ba = predicted(controlled(controlled(model, other, hint(1), 2.0), one, hint(), 0.5))
    torch.testing.assert_close(ab, ba, rtol=0, atol=1e-5)
    for alone in (whole, predicted(model), predicted(controlled(model, other, hint(1), 2.0))):
        assert (ab - alone).abs().max() > 1e-3
    # A control and its opposite cancel.
    none = predicted(controlled(controlled(model, one, hint(), 1.0), one, hint(), -1.0))
    torch.testing.assert_close(none, predicted(model), rtol=0, atol=1e-5)


def test_a_hint_for_each_sample_is_what_each_alone_is_given() -> None:
    model = unet_model(latent=True)
    one, hints = branch(model), torch.cat([hint(0), hint(1)])
    together = last(controlled(model, one, hints))
    for number in range(2):
        alone = last(controlled(model, one, hints[number : number + 1]))
        torch.testing.assert_close(together[number], alone[number], rtol=0, atol=1e-5)


def test_what_cannot_be_controlled() -> None:
    model = unet_model(latent=True)
    with pytest.raises(ValueError, match=r"a DiT.*only a U-Net"):
        controlled(latent_text_model(), branch(model), hint())
    with pytest.raises(ValueError, match=r"\[1, 1, 16, 16\].* 3 channels"):
        controlled(model, branch(model), hint()[:, :1])
    with pytest.raises(ValueError, match=r"\[1, 3, 15, 16\].*multiples of 4"):
        controlled(model, branch(model), hint()[:, :, 1:])
    small = controlled(model, branch(model), hint()[:, :, :8])
    with pytest.raises(ValueError, match="the hint is 8x16, but the sample is 16x16"):
        last(small)
    wide = ControlNetConfig(dataclasses.replace(_config(model), width=16))
    with pytest.raises(ValueError, match="width 16, but this one has 8"):
        controlled(model, ControlNet(wide), hint())


def _config(model: Model) -> UNetConfig:
    assert isinstance(model.network, UNet)
    return model.network.config


def drawn(path: Path, height: int, width: int) -> np.ndarray:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.mark.parametrize("channels", [1, 3])
def test_a_hint_of_the_right_size_is_the_files_pixels(tmp_path: Path, channels: int) -> None:
    pixels = drawn(tmp_path / "a.png", 12, 20)
    found, said = read_hint(tmp_path / "a.png", (12, 20), channels)
    assert said == () and found.shape == (1, channels, 12, 20)
    with Image.open(tmp_path / "a.png") as picture:
        want = np.asarray(picture.convert("L" if channels == 1 else "RGB")).reshape(12, 20, -1)
    assert channels == 1 or np.array_equal(want, pixels)
    np.testing.assert_allclose(
        found[0].permute(1, 2, 0).numpy(), want.astype(np.float32) / 255, rtol=0, atol=1e-7
    )


@pytest.mark.parametrize(
    ("size", "stretched"), [((24, 40), False), ((6, 10), False), ((12, 12), True), ((40, 24), True)]
)
def test_a_hint_of_another_size_is_scaled_and_stretching_is_said(
    tmp_path: Path, size: tuple[int, int], stretched: bool
) -> None:
    pixels = drawn(tmp_path / "a.png", 12, 20)
    found, said = read_hint(str(tmp_path / "a.png"), size)
    assert found.shape == (1, 3, *size) and found.min() >= 0 and found.max() <= 1
    if stretched:
        assert f"a.png is 12x20 and was stretched to {size[0]}x{size[1]}" in said[0]
        assert len(said) == 1 and "\n" not in said[0]
    else:
        assert said == ()
    # Pillow scales by bicubics as well, without rounding where its numbers are floats.
    for channel in range(3):
        plane = Image.fromarray(pixels[..., channel].astype(np.float32) / 255)
        want = np.asarray(plane.resize(size[::-1], Image.Resampling.BICUBIC)).clip(0, 1)
        np.testing.assert_allclose(found[0, channel].numpy(), want, rtol=0, atol=1e-5)


def test_a_share_of_a_hundredth_is_not_stretching(tmp_path: Path) -> None:
    drawn(tmp_path / "a.png", 301, 200)
    assert read_hint(tmp_path / "a.png", (300, 200))[1] == ()
    assert "stretched" in read_hint(tmp_path / "a.png", (295, 200))[1][0]


def test_what_a_transparent_hint_becomes_is_said(tmp_path: Path) -> None:
    pixels = drawn(tmp_path / "a.png", 12, 20)
    alpha = np.full((12, 20, 1), 255, np.uint8)
    for hole, said in (((), 0), ((slice(3, 9), slice(5, 15)), 1)):
        if hole:
            alpha[hole] = 0
        Image.fromarray(np.concatenate([pixels, alpha], 2)).save(tmp_path / "b.png")
        found, notes = read_hint(tmp_path / "b.png", (12, 20))
        white = np.where(alpha > 0, pixels, 255) / 255
        np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), white, rtol=0, atol=1e-6)
        assert len(notes) == said
    assert "b.png is transparent in places, which are read as white" in notes[0]
