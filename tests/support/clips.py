"""CLIP text encoders with CLIP's own words, small in all else."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import checkpoints
import diffusers
import transformers
from encoders import clip_vocabulary, random_model
from torch import Tensor

from inkdrop.convert.convert import convert
from inkdrop.convert.sd.clip_words import SIZE, _merges


def clip(projected: bool, **more: Any) -> Any:
    """A CLIP with the real words and one head of the real width."""
    told = {
        "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 3, "projection_dim": 64,
        "num_attention_heads": 1, "vocab_size": SIZE, "bos_token_id": SIZE - 2,
        "eos_token_id": SIZE - 1,
    }  # fmt: skip
    name = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    return random_model(name, **{**told, **more})


def named(model: Any) -> dict[str, Tensor]:
    """The weights as files have them."""
    weights = {n: v for n, v in model.state_dict().items() if not n.endswith("position_ids")}
    whole = any(n.startswith("text_model.") for n in weights)
    return {
        n if whole or n[:9] == "text_proj" else f"text_model.{n}": v for n, v in weights.items()
    }


def words(pad: int) -> Any:
    vocabulary = clip_vocabulary(list(_merges()))
    token = {number: word for word, number in vocabulary.items()}[pad]
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=list(_merges()), pad_token=token)


def single_file(path: Path) -> None:
    """A whole model of Stable Diffusion 1 as one file, with CLIP's words, small in all else."""
    told = {**checkpoints.small("sd15"), "cross_attention_dim": 64}
    unet = checkpoints.random(diffusers.UNet2DConditionModel(**told))
    with TemporaryDirectory() as place:
        folder = checkpoints.save(Path(place) / "a", "sd15", unet=unet, vae=checkpoints.vae("sd15"))
        parts = {"text_encoder": clip(False, hidden_act="quick_gelu"), "tokenizer": words(SIZE - 1)}
        parts["tokenizer"].model_max_length = 77
        for name, part in parts.items():
            part.save_pretrained(folder / name)
        kinds = {name: ["transformers", type(part).__name__] for name, part in parts.items()}
        checkpoints.edit(folder / "model_index.json", **kinds)
        convert(folder, path, "single")
