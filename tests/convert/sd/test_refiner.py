"""SDXL's refiner from a single file, whole: it goes on from half done codes as diffusers' does."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import checkpoints
import clips
import diffusers
import torch
from checkpoints import difference, random, save, scheduler

from inkdrop.convert.open import open_checkpoint
from inkdrop.convert.sd.export import export_single
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.convert.sd.text_keys import to_open_clip
from inkdrop.diffusion.samplers import ddim
from inkdrop.model import Prompt
from inkdrop.tasks.sampling import Sampling, denoiser

WIDTH, STEPS, GUIDANCE = 64, 10, 5.0  # the width of a head: single files say no fewer channels
WORDS = ["a photo of a red fox", "two green hills"]
STABLE = {**scheduler("sd15"), "_class_name": "DDIMScheduler"}


def pipeline(unet: Any, vae: Any, clip: Any) -> Any:
    words = clips.words(0)
    words.model_max_length = 77
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = diffusers.StableDiffusionXLImg2ImgPipeline(
            vae=vae, unet=unet, text_encoder=None, tokenizer=None, text_encoder_2=clip,
            tokenizer_2=words, scheduler=diffusers.DDIMScheduler.from_config(STABLE),
            requires_aesthetics_score=True, force_zeros_for_empty_prompt=False,
            add_watermarker=False,
        )  # fmt: skip
    made.set_progress_bar_config(disable=True)
    return made


def test_the_second_half_of_a_sampling(tmp_path: Path) -> None:
    told = {**checkpoints.small("refiner"), "cross_attention_dim": WIDTH}
    told["projection_class_embeddings_input_dim"] = WIDTH + 5 * 256
    unet, vae = random(diffusers.UNet2DConditionModel(**told)), checkpoints.vae("refiner")
    clip = clips.clip(True, hidden_act="gelu")
    save(tmp_path / "folder", "refiner", unet=unet, vae=vae)
    words = to_open_clip(clips.named(clip))
    text = {f"conditioner.embedders.0.model.{name}": value for name, value in words.items()}
    file = tmp_path / "refiner.safetensors"
    export_single(to_model(read(tmp_path / "folder"))[0], file, text=text)
    model = open_checkpoint(file)[0].sized(72, 40)
    begun = torch.randn(2, 4, 9, 5, generator=torch.Generator().manual_seed(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = pipeline(unet, vae, clip)(
            WORDS, image=begun, denoising_start=0.5, num_inference_steps=STEPS,
            guidance_scale=GUIDANCE, negative_aesthetic_score=6.0, output_type="latent",
        ).images  # fmt: skip
    times = read_schedule(STABLE, "here").times(STEPS)
    denoise = denoiser(model, [Prompt(w) for w in WORDS], 2, Sampling(guidance=GUIDANCE))
    with torch.no_grad():
        *_, last = ddim(model.process, denoise, begun, times[times * 1000 - 1 < 500])
    assert 0.1 < expected.std() < 100
    assert difference(last.x, expected) < 1e-3
