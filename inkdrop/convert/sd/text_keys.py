"""OpenCLIP's names for the weights of CLIP's text encoder, and what it stores differently.

They are mapped to those of `transformers`, which diffusers' folders and most single files use.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from inkdrop.conditioning.clip import LAYER, PROJECTION

# The prefix of its layers; each holds query, key and value in a single weight.
OPEN_CLIP = "transformer.resblocks."
# Parts of names, in `transformers` and in OpenCLIP.
PAIRS = (
    (LAYER, OPEN_CLIP),
    (".layer_norm1.", ".ln_1."),
    (".layer_norm2.", ".ln_2."),
    (".mlp.fc1.", ".mlp.c_fc."),
    (".mlp.fc2.", ".mlp.c_proj."),
    (".self_attn.", ".attn."),
    ("text_model.final_layer_norm.", "ln_final."),
    ("text_model.embeddings.token_embedding.", "token_embedding."),
    ("text_model.embeddings.position_embedding.weight", "positional_embedding"),
    (f"{PROJECTION}.weight", PROJECTION),
)
# Used only in training.
UNUSED = ("logit_scale", "attn_mask")
_FUSED = re.compile(r"(.*\.self_attn\.)in_proj_(weight|bias)")
_SPLIT = re.compile(r"(.*\.self_attn\.)([qkv])_proj\.(weight|bias)")


def from_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's weights under the names of `transformers`.

    Query, key and value, [3 D, ...], become three; the projection is transposed.
    """
    found = dict[str, Tensor]()
    for name, value in weights.items():
        if name in UNUSED:
            continue
        usual = _usual(name)
        _check_form(name, value)
        if match := _FUSED.fullmatch(usual):
            parts = zip("qkv", value.chunk(3), strict=True)
            found |= {f"{match[1]}{letter}_proj.{match[2]}": part for letter, part in parts}
        else:
            found[usual] = value.T.contiguous() if name == PROJECTION else value
    return found


def to_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights of `transformers` under OpenCLIP's names."""
    found = dict[str, Tensor]()
    for name, value in weights.items():
        match = _SPLIT.fullmatch(name)
        theirs = _theirs(name)
        if match is None:
            found[theirs] = value.T.contiguous() if theirs == PROJECTION else value
        elif match[2] == "q":
            rest = (weights[f"{match[1]}{letter}_proj.{match[3]}"] for letter in "kv")
            fused = _theirs(f"{match[1]}in_proj_{match[3]}")
            found[fused] = torch.cat([value, *rest])
    return found


def _check_form(name: str, value: Tensor) -> None:
    """ValueError for a weight that cannot be split or transposed."""
    fused = "in_proj_" in name
    if (fused and (value.ndim == 0 or value.shape[0] % 3)) or (
        name == PROJECTION and value.ndim != 2
    ):
        raise ValueError(
            f"{name} has the shape {list(value.shape)}, which no text encoder of OpenCLIP has"
        )


def _usual(name: str) -> str:
    for usual, theirs in PAIRS:
        name = name.replace(theirs, usual)
    return name


def _theirs(name: str) -> str:
    for usual, theirs in PAIRS:
        name = name.replace(usual, theirs)
    return name
