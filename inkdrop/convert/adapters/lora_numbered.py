"""LoRAs of lora_diffusion (cloneofsimo), which number their pairs and do not name them.

A file says which classes of diffusers and transformers have pairs; they are counted as these
libraries go through their modules, which is not the order in which a U-Net computes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from inkdrop.config import choose
from inkdrop.convert.adapters.lora_keys import Target, folder_names
from inkdrop.convert.adapters.parts import FIRST, UNET

ATTENTION = r"\.attn[12]\.to_(q|k|v|out\.0)$"
# The layers inside of each class, by their names in folders.
INSIDE = {
    "CrossAttention": ATTENTION,
    "Attention": ATTENTION,
    "GEGLU": r"\.ff\.net\.0\.proj$",
    "ResnetBlock2D": r"\.resnets\.\d+\.(conv1|time_emb_proj|conv2|conv_shortcut)$",
    "CLIPAttention": r"\.self_attn\.\w+_proj$",
    "CLIPSdpaAttention": r"\.self_attn\.\w+_proj$",
}
USUAL = {UNET: ("CrossAttention", "Attention", "GEGLU"), FIRST: ("CLIPAttention",)}
# The order of modules. Until version 0.13 diffusers had the feed-forward layer between the others;
# the shapes of a file's weights tell which order it has.
_BLOCKS = ("down_blocks", "up_blocks", "mid_block", "attentions", "resnets")
_LAYERS = (
    "to_q", "to_k", "to_v", "to_out", "k_proj", "v_proj", "q_proj", "out_proj",
    "conv1", "time_emb_proj", "conv2", "conv_shortcut",
)  # fmt: skip
ORDERS = (
    (*_BLOCKS, "attn1", "ff", "attn2", *_LAYERS),
    (*_BLOCKS, "attn1", "attn2", "ff", *_LAYERS),
)


def told_classes(metadata: Mapping[str, str], part: str, where: str) -> tuple[str, ...]:
    """The classes that a file's header says have pairs, or the usual ones if it says none."""
    if part not in metadata:
        return USUAL.get(part, ())
    try:
        said: Any = json.loads(metadata[part])
    except ValueError:
        said = None
    if not isinstance(said, list) or not all(isinstance(name, str) for name in said):
        raise ValueError(f"{where} must say in its header a list of classes for {part}")
    for name in said:
        choose(f"class whose layers are known in {where}, {part}:", name, INSIDE)
    return tuple(said)


def numbered(part: str, network: nn.Module, classes: Sequence[str]) -> Iterator[list[Target]]:
    """The weights of a part that have pairs, as they are counted, in each order there has been."""
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
