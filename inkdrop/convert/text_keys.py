"""Names of CLIP's text encoder in OpenCLIP, and what is stored otherwise there, as tables.

Ours are those of `transformers`, which diffusers' folders and most single files have too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from inkdrop.convert.keys import Rules, renamed

# The layers of both; OpenCLIP holds query, key and value of one in a single weight.
LAYER = "text_model.encoder.layers."
OPEN_CLIP = "transformer.resblocks."  # what tells its names
PROJECTION = "text_projection"
RULES: Rules = (
    (r"^text_model\.encoder\.layers\.", OPEN_CLIP),
    (r"\.layer_norm([12])\.", r".ln_\1."),
    (r"\.mlp\.fc1\.", ".mlp.c_fc."),
    (r"\.mlp\.fc2\.", ".mlp.c_proj."),
    (r"\.self_attn\.", ".attn."),
    (r"^text_model\.final_layer_norm\.", "ln_final."),
    (r"^text_model\.embeddings\.token_embedding\.", "token_embedding."),
    (r"^text_model\.embeddings\.position_embedding\.weight$", "positional_embedding"),
    (r"^text_projection\.weight$", "text_projection"),
)
BACK: Rules = (
    (r"^transformer\.resblocks\.", LAYER),
    (r"\.ln_([12])\.", r".layer_norm\1."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
    (r"\.attn\.", ".self_attn."),
    (r"^ln_final\.", "text_model.final_layer_norm."),
    (r"^token_embedding\.", "text_model.embeddings.token_embedding."),
    (r"^positional_embedding$", "text_model.embeddings.position_embedding.weight"),
    (r"^text_projection$", "text_projection.weight"),
)
# Of training alone.
UNUSED = ("logit_scale", "attn_mask")
_FUSED = re.compile(r"(.*\.self_attn\.)in_proj_(weight|bias)")
_SPLIT = re.compile(r"(.*\.self_attn\.)([qkv])_proj\.(weight|bias)")


def from_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """OpenCLIP's weights by our names: [3 D, ...] in three, the projection the other way round."""
    found = dict[str, Tensor]()
    for name, value in weights.items():
        if name in UNUSED:
            continue
        ours = renamed(name, BACK)
        if match := _FUSED.fullmatch(ours):
            parts = zip("qkv", value.chunk(3), strict=True)
            found |= {f"{match[1]}{letter}_proj.{match[2]}": part for letter, part in parts}
        else:
            found[ours] = value.T.contiguous() if name == PROJECTION else value
    return found


def to_open_clip(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The way back."""
    found = dict[str, Tensor]()
    for name, value in weights.items():
        match = _SPLIT.fullmatch(name)
        theirs = renamed(name, RULES)
        if match is None:
            found[theirs] = value.T.contiguous() if theirs == PROJECTION else value
        elif match[2] == "q":
            rest = (weights[f"{match[1]}{letter}_proj.{match[3]}"] for letter in "kv")
            fused = renamed(f"{match[1]}in_proj_{match[3]}", RULES)
            found[fused] = torch.cat([value, *rest])
    return found


def longer(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The weights by the longer of their two names, which files have; newer libraries cut it."""
    if any(name.startswith("text_model.") for name in weights):
        return dict(weights)
    return {n if n.startswith(PROJECTION) else f"text_model.{n}": v for n, v in weights.items()}
