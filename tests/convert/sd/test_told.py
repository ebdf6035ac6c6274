"""Checkpoints that are told a picture: codes and pictures of diffusers' pipelines for them."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import pipelines
import pytest
import torch
from checkpoints import controlnet, difference, scheduler
from torch import Tensor

from inkdrop.convert.control import open_control
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.diffusion.samplers import sampler
from inkdrop.model import Model, Prompt
from inkdrop.tasks.control import controlled
from inkdrop.tasks.edit import edit
from inkdrop.tasks.generate import generate
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.inpaint import Masked, beside, inpaint
from inkdrop.tasks.sampling import Sampling

STEPS, GUIDANCE, SEED = 20, 7.5, 5
WORDS = ["a photo of a red fox", "two green hills, at night", "a"]
NEGATIVE = "blue, blurred"
SIZE = (72, 40)  # no multiples of 64
CODE = (3, 4, SIZE[0] // 8, SIZE[1] // 8)


def noise() -> Tensor:
    return torch.randn(CODE, generator=torch.Generator().manual_seed(1))


def quiet(make: Any, *words: Any, **more: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return make(*words, **more)


def as_ddim(pipe: Any, name: str) -> Tensor:
    """Gives a pipeline DDIM's scheduler; our grid for it."""
    pipe.scheduler = quiet(diffusers.DDIMScheduler.from_config, scheduler(name))
    pipe.set_progress_bar_config(disable=True)
    told = {**dict(pipe.scheduler.config), "_class_name": "DDIMScheduler"}
    return read_schedule(told, "here").times(STEPS)


def ran(model: Model, times: Tensor, sampling: Sampling, beside: Tensor | None = None) -> Tensor:
    words = [Prompt(w) for w in WORDS]
    denoise = denoiser(model, words, len(WORDS), sampling, beside=beside)
    with torch.no_grad():
        *_, last = sampler("ddim")(model.process, denoise, noise(), times)
    return last.x


def same_pictures(model: Model, pipe: Any, found: Tensor, expected: Tensor) -> None:
    """Codes to 1e-3, pictures to one level of 255."""
    assert 0.1 < expected.std() < 100
    assert difference(found, expected) < 1e-3
    with torch.no_grad():
        theirs = pipe.vae.decode(expected / pipe.vae.config.scaling_factor).sample
        ours = model.codec.decode(found)
    levels = [((x / 2 + 0.5).clamp(0, 1) * 255).round() for x in (ours, theirs)]
    assert (levels[0] - levels[1]).abs().max() <= 1
    assert theirs.std() > 0.01


def asked() -> dict[str, Any]:
    return {"prompt": WORDS, "num_inference_steps": STEPS, "guidance_scale": GUIDANCE,
            "latents": noise(), "output_type": "latent"}  # fmt: skip


def picture_and_mask() -> tuple[Tensor, Tensor]:
    torch.manual_seed(2)
    mask = torch.zeros(1, 1, *SIZE)
    mask[..., 11:50, 5:29] = 1
    return torch.rand(1, 3, *SIZE), mask


@pytest.fixture(scope="module")
def inpainting(tmp_path_factory: Any) -> tuple[Any, Model]:
    folder = tmp_path_factory.mktemp("inpainting")
    pipe = pipelines.saved(folder, "inpainting")
    return pipe, open_checkpoint(folder)[0].sized(*SIZE)


@pytest.mark.parametrize("negative", [None, NEGATIVE])
def test_inpainting(inpainting: tuple[Any, Model], negative: str | None) -> None:
    pipe, model = inpainting
    times = as_ddim(pipe, "inpainting")
    picture, mask = picture_and_mask()
    expected = quiet(
        pipe, **asked(), image=picture, mask_image=mask, height=SIZE[0], width=SIZE[1],
        generator=torch.Generator().manual_seed(SEED),
        negative_prompt=None if negative is None else [negative] * 3,
    ).images  # fmt: skip
    # Theirs draws the code of the picture from what the encoder says, with one noise for all.
    drawn = torch.randn((1, *CODE[1:]), generator=torch.Generator().manual_seed(SEED))
    with torch.no_grad():
        concat = beside(
            model, Masked(2 * picture - 1, mask > 0.5), drawn.expand(CODE), nearest=True
        )
    words = None if negative is None else Prompt(negative)
    sampling = Sampling(guidance=GUIDANCE, negative=words)
    same_pictures(model, pipe, ran(model, times, sampling, concat), expected)


def test_what_an_inpainting_model_is_told(inpainting: tuple[Any, Model]) -> None:
    pipe, model = inpainting
    picture, mask = picture_and_mask()
    drawn = torch.randn((1, *CODE[1:]), generator=torch.Generator().manual_seed(SEED))
    image = (2 * picture - 1) * (mask < 0.5)
    small, code = pipe.prepare_mask_latents(
        mask, image, 3, *SIZE, torch.float32, "cpu", torch.Generator().manual_seed(SEED), False
    )
    with torch.no_grad():
        found = beside(model, Masked(2 * picture - 1, mask > 0.5), drawn.expand(CODE), nearest=True)
    assert torch.equal(found[:, :1], small)
    assert difference(found[:, 1:], code) < 1e-4
    with torch.no_grad():
        mean = beside(model, Masked(2 * picture - 1, mask > 0.5), torch.zeros(CODE), nearest=True)
    assert difference(mean[:, 1:], code) > 1e-3  # a sample, and not the mean


def test_pix2pix(tmp_path_factory: Any) -> None:
    folder = tmp_path_factory.mktemp("pix2pix")
    pipe = pipelines.saved(folder, "pix2pix")
    model = open_checkpoint(folder)[0].sized(*SIZE)
    times = as_ddim(pipe, "pix2pix")
    picture = picture_and_mask()[0]
    expected = quiet(
        pipe, **asked(), image=picture.expand(3, -1, -1, -1), image_guidance_scale=1.5,
        negative_prompt=[NEGATIVE] * 3,
    ).images  # fmt: skip
    code = pipe.vae.encode(2 * picture - 1).latent_dist.mode()
    for batched in (True, False):
        sampling = Sampling(
            guidance=GUIDANCE, picture_guidance=1.5, negative=Prompt(NEGATIVE),
            two_calls=not batched,
        )  # fmt: skip
        same_pictures(model, pipe, ran(model, times, sampling, code.expand(CODE)), expected)
    # The task tells the model just this code.
    told = Sampling(guidance=GUIDANCE, picture_guidance=1.5, steps=3, sampler="ddim")
    words = [Prompt(WORDS[0])]
    *_, whole = edit(model, 2 * picture - 1, conditions=words, sampling=told)
    *_, last = generate(model, conditions=words, sampling=told, beside=code)
    assert difference(whole.x, last.x) < 1e-4
    with pytest.raises(ValueError, match="was not trained on masks"):
        next(inpaint(model, Masked(picture, picture[:, :1] > 0.5)))


@pytest.mark.parametrize("name", ["sd15", "sdxl"])
def test_control(tmp_path_factory: Any, name: str) -> None:
    folder = tmp_path_factory.mktemp("control")
    pipe, branch = pipelines.saved(folder / "model", name), controlnet(name)
    branch.save_pretrained(folder / "control")
    xl = "XL" if name == "sdxl" else ""
    cls = getattr(diffusers, f"StableDiffusion{xl}ControlNetPipeline")
    if not xl:
        more: dict[str, Any] = {"requires_safety_checker": False}
    else:
        more = {"add_watermarker": False}
    parts = {**pipe.components, "controlnet": branch}
    pipe = quiet(cls, **parts, **more)
    times = as_ddim(pipe, name)
    plain = open_checkpoint(folder / "model")[0].sized(*SIZE)
    hint = torch.rand(1, 3, *SIZE, generator=torch.Generator().manual_seed(3))
    expected = quiet(
        pipe, **asked(), image=hint, controlnet_conditioning_scale=0.8, height=SIZE[0],
        width=SIZE[1], negative_prompt=[NEGATIVE] * 3,
    ).images  # fmt: skip
    model = controlled(plain, open_control(folder / "control", plain)[0], hint, 0.8)
    for batched in (True, False):
        sampling = Sampling(guidance=GUIDANCE, negative=Prompt(NEGATIVE), two_calls=not batched)
        same_pictures(model, pipe, ran(model, times, sampling), expected)
    # The model that was given draws as before.
    alone = ran(plain, times, sampling)
    assert difference(alone, expected) > 1e-2
