"""How files and folders of adapters are recognised."""

from __future__ import annotations

import re
from pathlib import Path

from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.stored import Weights

LORA = Kind(
    "a LoRA, which changes a model and is not one itself",
    weights=(
        r"(.*\.)?(lora_(up|down|A|B)|lora\.(up|down))\.|lora_(unet|te\d?)_|.*\.hada_w\d",
        r".*[._]lora(_linear_layer)?\.(up|down)\.|(unet|text_encoder(_2)?):\d+:(up|down)$",
    ),
    files=(
        "adapter_config.json",
        "pytorch_lora_weights.safetensors",
        # PEFT's folders of several parts.
        "unet/adapter_config.json",
        "text_encoder/adapter_config.json",
        "text_encoder_2/adapter_config.json",
    ),
)
EMBEDDING = Kind(
    "an embedding for a text encoder, which changes a model and is not one itself",
    weights=(r"emb_params$|string_to_param|clip_[lg]$|<.*>$",),
)
ADAPTERS = (LORA, EMBEDDING)

# The ends of all names in a file of a LoRA alone, whatever they begin with.
LORA_ENDS = r"[._]lora(_linear_layer)?\.(up|down)\.weight$|\.lora_\w+(\.\w+)*\.weight$|\.alpha$"

MOST_WORDS = 8  # in one file of plain names


def adapter_of_file(weights: Weights) -> Kind | None:
    """The kind of adapter that has these weights; None if it is not one.

    A few vectors with plain names of any kind are the words of an embedding of diffusers.
    """
    flat = all(len(value.shape) in (1, 2) for value in weights.values())
    plain = not any("." in name or ":" in name for name in weights)
    if 1 <= len(weights) <= MOST_WORDS and flat and plain:
        return EMBEDDING
    return next((kind for kind in ADAPTERS if kind.matches(weights)), None)


def is_whole_lora(weights: Weights) -> bool:
    """True if all weights are a LoRA's, which may have the prefixes of a model's."""
    return LORA.matches(weights) and all(re.search(LORA_ENDS, name) for name in weights)


def adapter_of_folder(folder: Path) -> Kind | None:
    """The kind of adapter in a folder; None if it is not one."""
    return next((kind for kind in ADAPTERS if kind.marks(folder)), None)
