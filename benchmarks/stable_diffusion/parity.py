"""Parity in the real size: the outputs of two libraries for the same weights, prompt and noise."""

from __future__ import annotations

import gc
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.stable_diffusion import models
from inkdrop.cond import Cond
from inkdrop.conditioning.joined import WAVES
from inkdrop.convert.files.fill import filled
from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.diffusion.guidance import cfg
from inkdrop.diffusion.samplers import sampler
from inkdrop.model import Model, Prompt, Spec
from inkdrop.networks.layers import sinusoidal
from inkdrop.networks.unet import UNet
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.sampling import Sampling

WORDS, NEGATIVE = "a lighthouse at dusk, waves below, oil on canvas", "blurred, low quality"
STEPS, XL_STEPS, GUIDANCE = 20, 4, 7.5
SAMPLERS = {"ddim": "DDIMScheduler", "dpmpp_2m": "DPMSolverMultistepScheduler"}


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest error, relative to the largest value."""
    return float((ours - theirs).abs().max() / theirs.abs().max())


@torch.no_grad()
def of_sd15(folder: Path, size: int) -> Iterator[str]:
    """Lines with the errors of text, each network, and whole pictures of `size` pixels a side."""
    pipe, (model, _) = models.opened(folder), open_checkpoint(folder)
    model = model.sized(size, size)
    ids = pipe.tokenizer([WORDS], padding="max_length", max_length=77).input_ids
    assert model.text is not None
    cond = model.condition([Prompt(WORDS)])
    said = pipe.text_encoder(torch.tensor(ids)).last_hidden_state
    assert cond.tokens is not None
    yield f"text encoder: {difference(cond.tokens, said):.1e}"
    noise = torch.randn(1, 4, size // 8, size // 8, generator=torch.Generator().manual_seed(1))
    t = torch.tensor([501.0])
    out = model.network(noise, t, cond)
    yield f"U-Net: {difference(out, pipe.unet(noise, t, said).sample):.1e}"
    pixels = pipe.vae.decode(noise / pipe.vae.config.scaling_factor).sample
    yield f"decoder: {difference(model.codec.decode(noise), pixels):.1e}"
    del said, out, pixels
    for name, cls in SAMPLERS.items():
        yield f"{name}, {STEPS} steps at {GUIDANCE}: {whole(pipe, model, name, cls, noise)}"


def whole(pipe: Any, model: Model, name: str, cls: str, noise: Tensor) -> str:
    """A line with the error of one whole picture, made by both libraries."""
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipe.scheduler = getattr(diffusers, cls).from_config(pipe.scheduler.config)
    told = {**dict(pipe.scheduler.config), "_class_name": cls}
    times = read_schedule(told, "here").times(STEPS)
    size = 8 * noise.shape[-1]
    theirs = pipe(
        WORDS, negative_prompt=NEGATIVE, height=size, width=size, num_inference_steps=STEPS,
        guidance_scale=GUIDANCE, latents=noise, output_type="latent",
    ).images  # fmt: skip
    asked = Sampling(guidance=GUIDANCE, negative=Prompt(NEGATIVE))
    denoise = denoiser(model, [Prompt(WORDS)], 1, asked)
    *_, last = sampler(name)(model.process, denoise, noise, times)
    code = theirs / pipe.vae.config.scaling_factor
    pictures = [
        ((picture.clamp(-1, 1) + 1) * 127.5).round()
        for picture in (model.codec.decode(last.x), pipe.vae.decode(code).sample)
    ]
    levels = int((pictures[0] - pictures[1]).abs().max())
    return f"latents {difference(last.x, theirs):.1e}, pictures {levels} level(s) of 255"


@torch.no_grad()
def of_xl(folder: Path) -> Iterator[str]:
    """SDXL's U-Net at 32x32 with four guided DDIM steps; one library in memory at a time."""
    from tests.support.checkpoints import scheduler

    if not (folder / "unet" / "config.json").is_file():
        models.unet("sdxl").save_pretrained(folder / "unet", max_shard_size="5GB")
        gc.collect()
    told = {**scheduler("sd15"), "_class_name": "DDIMScheduler"}
    torch.manual_seed(1)
    noise, tokens, pooled = (
        torch.randn(1, 4, 32, 32),
        torch.randn(2, 77, 2048),
        torch.randn(2, 1280),
    )
    sizes = torch.tensor([[256.0, 256, 0, 0, 256, 256]] * 2)
    theirs = _their_xl(folder, told, noise, tokens, pooled, sizes)
    gc.collect()

    schedule, found = read_schedule(told, "here"), read(folder / "unet")
    assert found.unet is not None
    make = partial(UNet, found.unet.config)
    network, _ = filled(make, found.unet, "unet", str(folder), torch.float32)
    vector = torch.cat([pooled, sinusoidal(sizes.flatten(), WAVES).view(2, -1)], dim=1)
    empty, cond = (Cond(tokens=tokens[i : i + 1], vector=vector[i : i + 1]) for i in (0, 1))
    model = Model(network, schedule.process, schedule.parameterization, Spec((4, 32, 32)))
    denoise = cfg(model.denoise, cond, empty, GUIDANCE)
    *_, last = sampler("ddim")(model.process, denoise, noise, schedule.times(XL_STEPS))
    yield f"SDXL's U-Net, ddim, {XL_STEPS} steps: latents {difference(last.x, theirs):.1e}"


def _their_xl(
    folder: Path, told: dict[str, Any], x: Tensor, tokens: Tensor, pooled: Tensor, sizes: Tensor
) -> Tensor:
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet").eval()
        scheduler = diffusers.DDIMScheduler.from_config(told)
    scheduler.set_timesteps(XL_STEPS)
    added = {"text_embeds": pooled, "time_ids": sizes}
    for t in scheduler.timesteps:
        both = network(torch.cat([x, x]), t, tokens, added_cond_kwargs=added).sample
        empty, cond = both.chunk(2)
        x = scheduler.step(empty + GUIDANCE * (cond - empty), t, x).prev_sample
    return x
