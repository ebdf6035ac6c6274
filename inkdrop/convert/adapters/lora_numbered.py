"""LoRAs of lora_diffusion (cloneofsimo), whose pairs have numbers in place of names.

A file lists the classes of diffusers and transformers that have pairs. They are numbered in the
order of these libraries' modules, which is not the order in which a U-Net computes.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from inkdrop.config import choose
from inkdrop.convert.adapters.lora_keys import Target, folder_names
from inkdrop.convert.adapters.parts import FIRST, UNET
from inkdrop.weights import parsed_json

ATTENTION = r"\.attn[12]\.to_(q|k|v|out\.0)$"
# The layers inside each class, by their names in diffusers' folders.
INSIDE = {
    "CrossAttention": ATTENTION,
    "Attention": ATTENTION,
    "GEGLU": r"\.ff\.net\.0\.proj$",
    "ResnetBlock2D": r"\.resnets\.\d+\.(conv1|time_emb_proj|conv2|conv_shortcut)$",
    "CLIPAttention": r"\.self_attn\.\w+_proj$",
    "CLIPSdpaAttention": r"\.self_attn\.\w+_proj$",
}
# The classes with pairs where a file does not list them: the defaults of lora_diffusion.
DEFAULT_CLASSES = {UNET: ("CrossAttention", "Attention", "GEGLU"), FIRST: ("CLIPAttention",)}
# The order of modules. Until version 0.13 of diffusers the feed-forward layer was between the two
# attentions; the shapes of a file's weights reveal which order it has.
_BLOCKS = ("down_blocks", "up_blocks", "mid_block", "attentions", "resnets")
_LAYERS = (
    "to_q", "to_k", "to_v", "to_out", "k_proj", "v_proj", "q_proj", "out_proj",
    "conv1", "time_emb_proj", "conv2", "conv_shortcut",
)  # fmt: skip
ORDERS = (
    (*_BLOCKS, "attn1", "ff", "attn2", *_LAYERS),
    (*_BLOCKS, "attn1", "attn2", "ff", *_LAYERS),
)


def listed_classes(metadata: Mapping[str, str], part: str, where: str) -> tuple[str, ...]:
    """The classes with pairs according to a file's header, or the defaults if it lists none."""
    if part not in metadata:
        return DEFAULT_CLASSES.get(part, ())
    try:
        names: Any = parsed_json(metadata[part])
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise ValueError(f"{where} must have in its header a list of classes for {part}")
    for name in names:
        choose(f"class whose layers are known in {where}, {part}:", name, INSIDE)
    return tuple(names)


def numbered(part: str, network: nn.Module, classes: Sequence[str]) -> Iterator[list[Target]]:
    """The weights of a part that have pairs, as they are numbered in each known order."""
    pattern = "|".join(f"(?:{INSIDE[name]})" for name in classes)
    known = folder_names(part, network)
    names = [name for name in known if classes and re.search(pattern, f".{name}")]
    for order in ORDERS:
        yield [known[name] for name in sorted(names, key=lambda name: _place(name, order))]


def _place(name: str, order: Sequence[str]) -> tuple[int, ...]:
    return tuple(
        int(part) if part.isdigit() else order.index(part) if part in order else 0
        for part in name.split(".")
    )
