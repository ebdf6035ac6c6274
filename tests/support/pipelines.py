"""Whole pipelines of diffusers at reduced width, with text encoders and words of their own."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import transformers
from checkpoints import POOLED, scheduler, small
from encoders import clip_vocabulary, merges, random_model

from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START

CONTEXT = 32
# Of each: width and what fills prompts up, with a projection or without.
TEXTS: dict[str, tuple[tuple[int, str, bool], ...]] = {
    "sd15": ((24, CLIP_END, False),),
    "sd21": ((24, "!", False),),
    "inpainting": ((24, CLIP_END, False),),
    "pix2pix": ((24, CLIP_END, False),),
    "sd21 inpainting": ((24, "!", False),),
    "sdxl": ((8, CLIP_END, False), (16, "!", True)),
    "sdxl inpainting": ((8, CLIP_END, False), (16, "!", True)),
    "refiner": ((24, "!", True),),
}
FLAGS: dict[str, dict[str, Any]] = {
    "sdxl": {"add_watermarker": False},
    "sdxl inpainting": {"add_watermarker": False},
    "refiner": {
        "add_watermarker": False, "requires_aesthetics_score": True, "text_encoder": None,
        "tokenizer": None, "force_zeros_for_empty_prompt": False,
    },
}  # fmt: skip
UNCHECKED = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}


def tokenizer(pad: str) -> Any:
    return transformers.CLIPTokenizer(
        vocab=clip_vocabulary(merges()), merges=merges(), model_max_length=CONTEXT, pad_token=pad
    )


def encoder(width: int, projected: bool, **more: Any) -> Any:
    vocabulary = clip_vocabulary(merges())
    told = {
        "hidden_size": width, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "projection_dim": POOLED, "vocab_size": len(vocabulary),
        "max_position_embeddings": CONTEXT, "bos_token_id": vocabulary[CLIP_START],
        "eos_token_id": vocabulary[CLIP_END],
    }  # fmt: skip
    name = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return random_model(name, **{**told, **more})


def pipeline(name: str) -> Any:
    """A pipeline with random weights."""
    parts: dict[str, Any] = {"unet": checkpoints.unet(name), "vae": checkpoints.vae(name)}
    for number, (width, pad, projected) in enumerate(TEXTS[name], 2 if name == "refiner" else 1):
        end = "" if number == 1 else f"_{number}"
        parts["tokenizer" + end] = tokenizer(pad)
        parts["text_encoder" + end] = encoder(width, projected)
    told = scheduler(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts["scheduler"] = getattr(diffusers, told["_class_name"]).from_config(told)
        cls = getattr(diffusers, checkpoints.PIPELINES[name])
        made = cls(**parts, **FLAGS.get(name, UNCHECKED))
    made.set_progress_bar_config(disable=True)
    assert small(name)["cross_attention_dim"] == sum(width for width, _, _ in TEXTS[name])
    return made


def saved(folder: Path, name: str, **how: Any) -> Any:
    """The pipeline, saved into a folder."""
    made = pipeline(name)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.save_pretrained(folder, **how)
    return made
