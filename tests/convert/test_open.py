"""Whole checkpoints with their text: pictures of diffusers' pipelines, from words and noise."""

from __future__ import annotations

import warnings
from typing import Any

import diffusers
import pipelines
import pytest
import torch
from checkpoints import difference, scheduler
from torch import Tensor

from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.diffusion.samplers import sampler
from inkdrop.model import Model, Prompt
from inkdrop.tasks.sampling import Sampling, denoiser

STEPS, GUIDANCE = 20, 7.5
WORDS = ["a photo of a red fox", "two green hills, at night", "a"]
SIZE = (72, 40)  # no multiples of 64


@pytest.fixture(scope="module", params=["sd15", "sd21", "sdxl"])
def case(request: Any, tmp_path_factory: Any) -> tuple[str, Any, Model]:
    folder = tmp_path_factory.mktemp("case")
    made = pipelines.saved(folder, request.param)
    return request.param, made, open_checkpoint(folder)[0].sized(*SIZE)


def scheduled(pipe: Any, name: str, cls: str, **more: Any) -> Any:
    """The pipeline with this scheduler, and our grid for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.scheduler = getattr(diffusers, cls).from_config({**scheduler(name), **more})
    told = {**dict(pipe.scheduler.config), "_class_name": cls}
    return read_schedule(told, "here").times(STEPS)


def ours(model: Model, name: str, times: Tensor, noise: Tensor, negative: str | None) -> Tensor:
    sampling = Sampling(guidance=GUIDANCE, negative=None if negative is None else Prompt(negative))
    denoise = denoiser(model, [Prompt(w) for w in WORDS], len(WORDS), sampling)
    with torch.no_grad():
        *_, last = sampler(name)(model.process, denoise, noise, times)
    return last.x


@pytest.mark.parametrize(
    ("cls", "name", "negative"),
    [
        ("DDIMScheduler", "ddim", None),
        ("DDIMScheduler", "ddim", "blue, blurred"),
        ("DPMSolverMultistepScheduler", "dpmpp_2m", "blue, blurred"),
    ],
)
def test_pictures_of_words(
    case: tuple[str, Any, Model], cls: str, name: str, negative: str | None
) -> None:
    family, pipe, model = case
    times = scheduled(pipe, family, cls)
    noise = torch.randn(
        3, 4, SIZE[0] // 8, SIZE[1] // 8, generator=torch.Generator().manual_seed(1)
    )
    asked = {
        "prompt": WORDS, "negative_prompt": None if negative is None else [negative] * 3,
        "height": SIZE[0], "width": SIZE[1], "num_inference_steps": STEPS,
        "guidance_scale": GUIDANCE, "latents": noise,
    }  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pipe(**asked, output_type="latent").images
        code = expected / pipe.vae.config.scaling_factor
        picture = (pipe.vae.decode(code).sample / 2 + 0.5).clamp(0, 1)
    found = ours(model, name, times, noise, negative)
    assert 0.1 < expected.std() < 100
    assert difference(found, expected) < 1e-3
    with torch.no_grad():
        made = ((model.codec.decode(found) + 1) / 2).clamp(0, 1)
    assert ((made * 255).round() - (picture * 255).round()).abs().max() <= 1
    assert picture.std() > 0.01
