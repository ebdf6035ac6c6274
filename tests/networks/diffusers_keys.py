"""Names of diffusers' U-Net weights in terms of ours: a table of rewritings, applied in order."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor, nn

RULES = (
    (r"^conv_in\.", "input."),
    (r"^conv_norm_out\.", "norm."),
    (r"^conv_out\.", "output."),
    (r"^time_embedding\.", "time."),
    (r"^add_embedding\.", "vector."),
    (r"^class_embedding\.", "label."),
    (r"\blinear_1\.", "first."),
    (r"\blinear_2\.", "second."),
    (r"^mid_block\.attentions\.(\d+)\.", r"mid.\1.attention."),
    (r"^mid_block\.resnets\.(\d+)\.", r"mid.\1.block."),
    (r"^(down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r"\1.\2.stages.\3.block."),
    (r"^(down|up)_blocks\.(\d+)\.attentions\.(\d+)\.", r"\1.\2.stages.\3.attention."),
    (r"^(down|up)_blocks\.(\d+)\.(?:down|up)samplers\.0\.", r"\1.\2.resample."),
    (r"\btime_emb_proj\.", "modulate."),
    (r"\bconv_shortcut\.", "shortcut."),
    (r"\.attention\.group_norm\.", ".attention.norm."),
    (r"\.attention\.to_", ".attention.attention.to_"),
    (r"\bproj_(in|out)\.", r"project_\1."),
    (r"\btransformer_blocks\.", "layers."),
    (r"\battn1\.", "self_attention."),
    (r"\battn2\.", "cross_attention."),
    (r"\bto_([qkv])\.", r"\1."),
    (r"\bto_out\.0\.", "out."),
    (r"\bff\.net\.0\.proj\.", "feed_forward.first."),
    (r"\bff\.net\.2\.", "feed_forward.second."),
)


def renamed(key: str) -> str:
    """Our name of a weight."""
    for pattern, replacement in RULES:
        key = re.sub(pattern, replacement, key)
    return key


def translated(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """All weights under our names; the label table gets a last row of zeros, the null label."""
    ours = {renamed(key): value for key, value in weights.items()}
    if "label.weight" in ours:
        ours["label.weight"] = nn.functional.pad(ours["label.weight"], (0, 0, 0, 1))
    return ours
