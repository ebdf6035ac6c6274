"""Edit: two strengths of guidance in one call, the picture's code beside x, colours on white."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from models import unet_model
from PIL import Image
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.model import Model, Prompt
from inkdrop.tasks.canvas import decoded
from inkdrop.tasks.edit import PICTURE_GUIDANCE, check_editor, cut_out, edit
from inkdrop.tasks.plan import start, times
from inkdrop.tasks.sampling import Sampling

WORDS = [Prompt("a red cat")]


def editor(latent: bool) -> Model:
    return unet_model(latent=latent, beside=2 if latent else 3, words=True)


def picture(height: int, width: int) -> Tensor:
    return 2 * torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(3)) - 1


def last(model: Model, given: Tensor, **asked: object) -> Tensor:
    for step in edit(model, given, **{"conditions": WORDS, **asked}):  # type: ignore[arg-type]
        x = step.x
    return x


@pytest.mark.parametrize("latent", [True, False])
def test_the_network_is_given_the_code_as_the_autoencoder_says_it(
    latent: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, calls = editor(latent), list[Cond]()
    forward = type(model.network).forward

    def seen(self: torch.nn.Module, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        calls.append(cond)
        return forward(self, x, t, cond)

    monkeypatch.setattr(type(model.network), "forward", seen)
    given = picture(16, 20)
    last(model, given, samples=range(2), conditions=WORDS * 2)
    code = model.codec.autoencoder.encode(given) if latent else given  # type: ignore[attr-defined]
    # Of every call a third is told no picture: that is guided away from.
    for cond in calls:
        assert cond.concat is not None and len(cond.concat) == 6
        parts = cond.concat.chunk(3)
        bare = [part for part in parts if not part.any()]
        told = [part for part in parts if part.any()]
        assert len(bare) == 1 and len(told) == 2
        for part in told:
            torch.testing.assert_close(part, code.expand(2, -1, -1, -1), rtol=0, atol=1e-5)


@torch.no_grad()
@pytest.mark.parametrize("latent", [True, False])
def test_guidance_by_words_and_picture_is_the_papers_formula(latent: bool) -> None:
    """Brooks et al. 2023, equation 3, in three calls of their own."""
    model, given = editor(latent), picture(16, 16)
    sampling = Sampling(sampler="ddim", steps=2, guidance=5.0, picture_guidance=1.7)
    first = next(edit(model, given, conditions=WORDS, sampling=sampling))
    on = times(model, sampling)
    x = start(model, SeededNoise(0, (0,), model.shape, model.process, model.device), on)
    code = model.codec.unscaled(model.codec.encode(given))
    words, none = model.condition(list(WORDS)), model.null(1)

    def said(cond: Cond, beside: Tensor) -> Tensor:
        return model.denoise(x, on[:1], dataclasses.replace(cond, concat=beside))

    nothing = said(none, torch.zeros_like(code))
    pictured, both = said(none, code), said(words, code)
    want = nothing + 1.7 * (pictured - nothing) + 5.0 * (both - pictured)
    if model.spec.clip:
        want = want.clamp(-1, 1)
    torch.testing.assert_close(first.x0, want, rtol=0, atol=1e-4)


@pytest.mark.parametrize("latent", [True, False])
@pytest.mark.parametrize("size", [(13, 18), (21, 11)])
def test_any_size_comes_back_as_it_was(latent: bool, size: tuple[int, int]) -> None:
    model, given = editor(latent), picture(*size)
    y = decoded(model, last(model, given), given)
    assert y.shape == given.shape and y.isfinite().all() and not torch.equal(y, given)


def test_the_strength_of_the_picture_is_the_papers_unless_said() -> None:
    model, given = editor(latent=True), picture(16, 16)
    usual = last(model, given)
    same = last(model, given, sampling=Sampling(picture_guidance=PICTURE_GUIDANCE))
    other = last(model, given, sampling=Sampling(picture_guidance=3.0))
    assert PICTURE_GUIDANCE == 1.5
    assert torch.equal(usual, same) and not torch.equal(usual, other)


def test_no_guidance_is_0_or_1_for_words_and_for_the_picture() -> None:
    model, given = editor(latent=True), picture(16, 16)
    zero, one = (
        last(model, given, sampling=Sampling(guidance=none, picture_guidance=none))
        for none in (0.0, 1.0)
    )
    assert torch.equal(zero, one)


def test_a_sample_is_the_same_alone_and_in_a_batch() -> None:
    model, given, sampling = editor(True), picture(13, 18), Sampling(grid="logsnr", steps=4)
    asked = {"seed": 5, "sampling": sampling}
    together = last(model, given, samples=range(3), conditions=WORDS * 3, **asked)
    alone = last(model, given, samples=[2], **asked)
    torch.testing.assert_close(alone[0], together[2], rtol=0, atol=1e-5)


def test_models_that_were_not_trained_to_edit() -> None:
    for beside in (0, 4):
        with pytest.raises(ValueError, match="not trained to edit"):
            check_editor(unet_model(latent=False, beside=beside))
    check_editor(editor(latent=True))


def test_what_is_cut_out_of_white_looks_the_same_on_white() -> None:
    rng = np.random.default_rng(0)
    y = torch.from_numpy(rng.uniform(-1, 1, (2, 3, 9, 9))).float()
    alpha = torch.from_numpy(rng.uniform(-1, 1, (1, 4, 9, 9))).float()
    alpha[0, 3, 0], alpha[0, 3, 1] = -1, 1
    found = cut_out(y, alpha)
    assert found.shape == (2, 4, 9, 9)
    assert torch.equal(found[:, 3:], alpha[:, 3:].expand(2, -1, -1, -1))
    assert torch.equal(found[:, :3, 0], y[:, :, 0])  # nothing is seen there
    torch.testing.assert_close(found[:, :3, 1], y[:, :, 1], rtol=0, atol=1e-6)  # opaque
    share = (found[:, 3:] + 1) / 2
    shown = share * found[:, :3] + (1 - share)
    reached = (found[:, :3] > -1) & (share > 0)
    assert 0.2 < reached.float().mean() < 0.9
    torch.testing.assert_close(shown[reached], y[reached], rtol=0, atol=1e-5)
    assert (shown[~reached & (share > 0)] >= y[~reached & (share > 0)] - 1e-5).all()


def test_pillow_lays_what_is_cut_out_on_white_as_it_was() -> None:
    rng = np.random.default_rng(1)
    alpha = 2 * torch.from_numpy(rng.integers(128, 256, (1, 4, 8, 8))).float() / 255 - 1
    white = torch.from_numpy(rng.uniform(0.2, 1, (1, 3, 8, 8))).float()  # alpha reaches all of it
    pixels = ((cut_out(white, alpha)[0] + 1) * 127.5).round().byte().permute(1, 2, 0).numpy()
    laid = Image.alpha_composite(Image.new("RGBA", (8, 8), "white"), Image.fromarray(pixels))
    want = ((white[0] + 1) * 127.5).permute(1, 2, 0).numpy()
    assert abs(np.asarray(laid)[..., :3] - want).max() <= 1.5
