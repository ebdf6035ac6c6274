"""Stable Diffusion models in their real sizes, created by diffusers with random weights."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import torch

from inkdrop.convert.sd.clip_words import usual_tokenizer

CLIP_L = {
    "hidden_size": 768, "intermediate_size": 3072, "num_hidden_layers": 12,
    "num_attention_heads": 12, "projection_dim": 768, "max_position_embeddings": 77,
    "vocab_size": 49408, "bos_token_id": 49406, "eos_token_id": 49407,
}  # fmt: skip


def unet(name: str) -> Any:
    """A U-Net with the random initial weights of diffusers."""
    import diffusers

    from tests.support.checkpoints import settings

    torch.manual_seed(0)
    return diffusers.UNet2DConditionModel(**settings(name)).eval().requires_grad_(False)


def vae() -> Any:
    """The autoencoder of SD 1."""
    import diffusers

    from tests.support.checkpoints import VAE

    kinds = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
    }
    torch.manual_seed(0)
    made = diffusers.AutoencoderKL(**VAE, **kinds, scaling_factor=0.18215)
    return made.eval().requires_grad_(False)


def text() -> Any:
    """The text encoder of SD 1."""
    import transformers

    torch.manual_seed(0)
    made = transformers.CLIPTextModel(transformers.CLIPTextConfig(**CLIP_L))
    return made.eval().requires_grad_(False)


def tokenizer() -> Any:
    """CLIP's tokenizer, with its real vocabulary."""
    import transformers

    model = json.loads(usual_tokenizer().backend.to_str())["model"]
    merges = [tuple(pair) for pair in model["merges"]]
    return transformers.CLIPTokenizer(
        vocab=model["vocab"], merges=merges, model_max_length=77, pad_token="<|endoftext|>"
    )


def pipeline() -> Any:
    """SD 1.5 with random weights."""
    import diffusers

    from tests.support.checkpoints import scheduler

    told = scheduler("sd15")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = diffusers.StableDiffusionPipeline(
            unet=unet("sd15"), vae=vae(), text_encoder=text(), tokenizer=tokenizer(),
            scheduler=diffusers.PNDMScheduler.from_config(told), safety_checker=None,
            feature_extractor=None, requires_safety_checker=False,
        )  # fmt: skip
    return made


def sd15(folder: Path) -> Path:
    """A folder with SD 1.5, 4.3 GB; created if it does not exist."""
    if not (folder / "model_index.json").is_file():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pipeline().save_pretrained(folder)
    return folder


def opened(folder: Path) -> Any:
    """The pipeline in a folder, opened by diffusers."""
    import diffusers

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made = diffusers.StableDiffusionPipeline.from_pretrained(folder, safety_checker=None)
    made.set_progress_bar_config(disable=True)
    return made
