"""Inpaint: the mask is painted, all else stays to the bit, and seams are distances to the edge."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from models import unet_model
from PIL import Image
from scipy.ndimage import distance_transform_cdt
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.events import Note
from inkdrop.make.make import make
from inkdrop.model import Model
from inkdrop.tasks.added import Added
from inkdrop.tasks.inpaint import (
    Masked,
    beside,
    check_painter,
    inpaint,
    painted,
    read_mask,
    read_masked,
    softened,
)
from inkdrop.tasks.request import Inpaint, Request
from inkdrop.tasks.sampling import Sampling

KINDS = [True, False]  # on a code, on pixels


def painter(latent: bool, channels: int = 3) -> Model:
    return unet_model(latent=latent, beside=1 + (2 if latent else channels), channels=channels)


def masked(height: int, width: int, channels: int = 3) -> Masked:
    """Any picture, painted in a rectangle that touches its upper edge."""
    picture = torch.rand(1, channels, height, width, generator=torch.Generator().manual_seed(3))
    mask = torch.zeros(1, 1, height, width, dtype=torch.bool)
    mask[..., : height // 2, 2 : width - 3] = True
    return Masked(2 * picture - 1, mask)


def last(model: Model, what: Masked, **asked: object) -> Tensor:
    for step in inpaint(model, what, **asked):  # type: ignore[arg-type]
        x = step.x
    return x


@pytest.mark.parametrize("seam", [0, 1, 2, 5, 40])
def test_a_seam_rises_with_the_distance_to_the_edge(seam: int) -> None:
    rng = np.random.default_rng(seam)
    mask = np.kron(rng.integers(0, 2, (6, 5)), np.ones((5, 7))) > 0
    assert mask.any() and not mask.all()
    # How many pixels it is to the next one that stays, diagonals counted as one.
    distance = distance_transform_cdt(mask, "chessboard")
    want = np.minimum(distance, seam + 1) / (seam + 1)
    found = softened(torch.from_numpy(mask)[None, None], seam)
    np.testing.assert_allclose(found[0, 0].numpy(), want, rtol=0, atol=1e-6)


def test_a_mask_of_everything_has_no_edge() -> None:
    assert torch.equal(
        softened(torch.ones(1, 1, 6, 9, dtype=torch.bool), 3), torch.ones(1, 1, 6, 9)
    )


@pytest.mark.parametrize("latent", KINDS)
@pytest.mark.parametrize("size", [(16, 16), (13, 18), (21, 14)])
@pytest.mark.parametrize("seam", [0, 3])
def test_what_is_not_masked_stays_to_the_bit(
    latent: bool, size: tuple[int, int], seam: int
) -> None:
    model, what = painter(latent), masked(*size)
    x = last(model, what, samples=range(2))
    y = painted(model, x, what, seam)
    assert y.shape == (2, 3, *size) and y.isfinite().all()
    inside = what.mask.expand_as(y)
    assert torch.equal(y[~inside], what.picture.expand_as(y)[~inside])
    # With a seam, only what is further inside than it is entirely new.
    new = (softened(what.mask, seam) == 1).expand_as(y)
    assert new.any() and not torch.equal(y[new], what.picture.expand_as(y)[new])
    assert torch.equal(y[new], painted(model, x, what)[new])
    # In between it is a mixture of both.
    weight = softened(what.mask, seam)
    mixture = weight * painted(model, x, what) + (1 - weight) * what.picture
    torch.testing.assert_close(y, mixture, rtol=0, atol=1e-6)


@pytest.mark.parametrize("latent", KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_transparency_stays_where_nothing_is_painted(latent: bool, channels: int) -> None:
    model, plain = painter(latent, channels), masked(13, 18, channels)
    transparent = torch.rand(1, 4, 13, 18) * 2 - 1
    what = Masked(plain.picture, plain.mask, transparent)
    x = last(model, what)
    y, opaque = painted(model, x, what, 2), painted(model, x, plain, 2)
    inside = what.mask.expand_as(y)
    assert y.shape == (1, 4, 13, 18)
    assert torch.equal(y[~inside], transparent[~inside])
    assert (y[:, 3:][what.mask] == 1).all()
    colours = opaque.expand(-1, 3, -1, -1)
    assert torch.equal(y[:, :3][inside[:, :3]], colours[inside[:, :3]])


@pytest.mark.parametrize("latent", KINDS)
def test_the_network_is_given_the_mask_and_nothing_of_what_it_hides(
    latent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, given = painter(latent), list[Tensor]()
    forward = type(model.network).forward

    def seen(self: torch.nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.concat is not None
        given.append(cond.concat)
        return forward(self, x, t, cond)

    monkeypatch.setattr(type(model.network), "forward", seen)
    what = masked(12, 20)
    last(model, what, samples=range(2))
    hidden = torch.where(what.mask, torch.rand(1, 3, 12, 20), what.picture)
    last(model, Masked(hidden, what.mask), samples=range(2))
    assert all(torch.equal(each, given[0]) for each in given)
    factor = model.codec.factor
    cut = what.mask.reshape(1, 1, 12 // factor, factor, 20 // factor, factor)
    assert torch.equal(given[0][:1, :1], cut.amax(dim=(3, 5)).float())
    if not latent:
        assert torch.equal(given[0][:1, 1:], what.picture * ~what.mask)


def test_the_code_of_the_picture_is_drawn_for_each_sample() -> None:
    model, what = painter(latent=True), masked(16, 16)
    noise = torch.randn(2, *model.shape)
    both = beside(model, what, noise)
    assert torch.equal(both[:1, :1], both[1:, :1]) and not torch.equal(both[0, 1:], both[1, 1:])
    torch.testing.assert_close(beside(model, what, noise[1:]), both[1:], rtol=0, atol=1e-5)
    mean = model.codec.encode(what.picture * ~what.mask)
    far = beside(model, what, torch.zeros(1, *model.shape))[:, 1:]
    torch.testing.assert_close(far, mean, rtol=0, atol=1e-5)


@pytest.mark.parametrize("latent", KINDS)
def test_a_sample_is_the_same_alone_and_in_a_batch(latent: bool) -> None:
    model, what = painter(latent), masked(13, 18)
    sampling = Sampling(grid="logsnr", steps=4)
    together = last(model, what, seed=5, samples=range(3), sampling=sampling)
    alone = last(model, what, seed=5, samples=[2], sampling=sampling)
    torch.testing.assert_close(alone[0], together[2], rtol=0, atol=1e-5)


def test_masks_that_fit_no_picture_or_mark_nothing() -> None:
    picture = torch.zeros(1, 3, 8, 9)
    with pytest.raises(ValueError, match="the mask is 9x8, but the picture 8x9"):
        Masked(picture, torch.ones(1, 1, 9, 8, dtype=torch.bool))
    with pytest.raises(ValueError, match="the mask is all black"):
        Masked(picture, torch.zeros(1, 1, 8, 9, dtype=torch.bool))
    # The pixels that stand for the cells of the code are others.
    fine = torch.zeros(1, 1, 16, 16, dtype=torch.bool)
    fine[..., 1, 1] = True
    with pytest.raises(ValueError, match="between the pixels"):
        inpaint(painter(latent=True), Masked(torch.zeros(1, 3, 16, 16), fine), nearest=True)
    for latent in KINDS:
        assert last(painter(latent), Masked(torch.zeros(1, 3, 16, 16), fine)).isfinite().all()


@pytest.mark.parametrize("latent", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_every_cell_that_a_thin_stroke_touches_is_to_be_painted(latent: bool, seed: int) -> None:
    """No cell is both hidden in the picture and told to be known, however fine the mask."""
    model, rng = painter(latent).sized(16, 24), np.random.default_rng(seed)
    mask = torch.zeros(1, 1, 16, 24, dtype=torch.bool)
    for row, column in rng.integers(0, (16, 24), (5, 2)):
        mask[..., row, column] = True
    told = beside(model, Masked(torch.ones(1, 3, 16, 24), mask), torch.zeros(1, *model.shape))
    cell = model.codec.factor
    for row in range(16 // cell):
        for column in range(24 // cell):
            part = mask[..., row * cell : (row + 1) * cell, column * cell : (column + 1) * cell]
            assert told[0, 0, row, column] == float(part.any())


def test_the_mask_as_other_programs_tell_it() -> None:
    model, what = painter(latent=True).sized(12, 20), masked(12, 20)
    told = beside(model, what, torch.zeros(1, *model.shape), nearest=True)
    factor = model.codec.factor
    assert factor > 1
    assert torch.equal(told[:, :1], what.mask[..., ::factor, ::factor].float())


def test_models_that_were_not_trained_on_masks() -> None:
    for beside_x in (0, 3, 5):
        with pytest.raises(ValueError, match="not trained on masks"):
            check_painter(unet_model(latent=False, beside=beside_x))
    check_painter(painter(latent=False))


def test_a_mask_marks_from_half_of_white_on(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(levels).save(tmp_path / "grey.png")
    Image.fromarray(np.stack([levels] * 3, 2)).save(tmp_path / "rgb.png")
    opaque = np.full_like(levels, 255)
    Image.fromarray(np.stack([levels] * 3 + [opaque], 2)).save(tmp_path / "rgba.png")
    for name in ("grey", "rgb", "rgba"):
        found = read_mask(str(tmp_path / f"{name}.png"))
        assert found.shape == (1, 1, 16, 16)
        assert np.array_equal(found[0, 0].numpy(), levels >= 128)
    Image.fromarray(levels > 200).save(tmp_path / "bits.png")
    assert np.array_equal(read_mask(str(tmp_path / "bits.png"))[0, 0].numpy(), levels > 200)


def test_a_mask_with_transparency_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 255, 255, 254)).save(tmp_path / "m.png")
    with pytest.raises(ValueError, match=r"m\.png is transparent in places"):
        read_mask(str(tmp_path / "m.png"))


def test_without_a_mask_what_is_not_opaque_is_painted(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 8, 4), np.uint8)
    pixels[::2, :, 3] = 255
    pixels[1, 0, 3] = 254
    Image.fromarray(pixels).save(tmp_path / "a.png")
    task = Inpaint(Added.of(str(tmp_path / "a.png"), "picture"))
    found = read_masked(task)
    assert np.array_equal(found.mask[0, 0].numpy(), pixels[..., 3] < 255)
    assert found.transparent is not None
    back = ((found.transparent[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    assert np.array_equal(back, pixels)
    # The picture that a model is given lies on white.
    with Image.open(tmp_path / "a.png") as opened:
        white = Image.alpha_composite(Image.new("RGBA", opened.size, "white"), opened)
    want = np.asarray(white.convert("RGB")) / 127.5 - 1
    np.testing.assert_allclose(found.picture[0].permute(1, 2, 0).numpy(), want, rtol=0, atol=1e-6)


def test_files_that_say_nothing_or_are_others_by_now(tmp_path: Path) -> None:
    for name, size in (("a", (6, 8)), ("small", (5, 8))):
        Image.new("RGB", size, "white").save(tmp_path / f"{name}.png")
    picture, small = (Added.of(str(tmp_path / f"{name}.png"), name) for name in ("a", "small"))
    with pytest.raises(ValueError, match=r"a\.png is opaque"):
        read_masked(Inpaint(picture))
    with pytest.raises(ValueError, match="the mask is 8x5, but the picture 8x6"):
        read_masked(Inpaint(picture, small))
    Image.new("RGB", (6, 8), "red").save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"the original .* has changed"):
        read_masked(Inpaint(picture, small))
    (tmp_path / "small.png").unlink()
    with pytest.raises(ValueError, match=r"small\.png, which does not exist"):
        read_masked(Inpaint(Added.of(str(tmp_path / "a.png"), "picture"), small))


@pytest.mark.parametrize("mode", ["LA", "P", "PA", "RGBA"])
def test_every_kind_of_transparency_is_kept_to_the_bit(mode: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    if mode in ("P", "PA"):
        found = Image.fromarray(rng.integers(0, 4, (6, 8), np.uint8), "P")
        found.putpalette(rng.integers(0, 256, 12, np.uint8).tobytes())
        found.info["transparency"] = bytes([0, 90, 255, 255])
    else:
        pixels = rng.integers(0, 256, (6, 8, len(mode)), np.uint8)
        pixels[..., -1] = rng.choice([0, 90, 255], (6, 8))
        found = Image.fromarray(pixels)
    found.save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as opened:
        want = np.asarray(opened.convert("RGBA"))
    what = read_masked(Inpaint(Added.of(str(tmp_path / "a.png"), "picture")))
    y = painted(painter(latent=False), torch.zeros(1, 3, 6, 8), what)
    back = ((y[0] + 1) * 127.5).round().permute(1, 2, 0).numpy()
    kept = want[..., 3] == 255
    assert kept.any() and np.array_equal(back[kept], want[kept])
    assert np.array_equal(what.mask[0, 0].numpy(), ~kept)


def test_a_picture_of_16_bits_is_said_to_leave_with_8(tmp_path: Path) -> None:
    levels = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257
    Image.fromarray(levels).save(tmp_path / "deep.png")
    Image.fromarray((levels >> 8).astype(np.uint8)).save(tmp_path / "plain.png")
    Image.fromarray(np.full((16, 16), 255, np.uint8)).save(tmp_path / "mask.png")
    mask = Added.of(str(tmp_path / "mask.png"), "mask")
    said = {}
    for name in ("deep", "plain"):
        task = Inpaint(Added.of(str(tmp_path / f"{name}.png"), "picture"), mask)
        request = Request(task=task, count=2, batch=1, sampling=Sampling(steps=1))
        events = list(make(request, model=painter(latent=False)))
        said[name] = [event.text for event in events if isinstance(event, Note)]
    assert len(said["deep"]) == 1 and "more than 8 bits a channel" in said["deep"][0]
    assert not said["plain"]
