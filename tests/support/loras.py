"""LoRAs with random weights for diffusers' pipelines, in the layouts of several trainers."""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

ATTENTION = r"attn[12]\.to_(q|k|v|out\.0)|ff\.net\.(0\.proj|2)|proj_(in|out)"
CONVOLUTION = r"conv[12]|conv_shortcut|time_emb_proj|(down|up)samplers\.0\.conv"
TEXT = r"self_attn\.\w+_proj|mlp\.fc[12]"


class Both(NamedTuple):
    up: Tensor
    down: Tensor


# By part (unet, text_encoder, text_encoder_2) and the layer's name in diffusers' folders.
Pairs = dict[tuple[str, str], Both]


def pairs(pipe: Any, parts: tuple[str, ...], *, rank: int = 3, layers: str = ATTENTION) -> Pairs:
    """A pair for every layer whose name ends so."""
    torch.manual_seed(rank)
    found: Pairs = {}
    for part in parts:
        wanted = layers if part == "unet" else TEXT
        for name, layer in getattr(pipe, part).named_modules():
            if isinstance(layer, nn.Linear | nn.Conv2d) and re.search(rf"\.({wanted})$", name):
                shape = layer.weight.shape
                whole = part == "unet" or name.startswith("text_")
                up = 0.1 * torch.randn(shape[0], rank, *[1] * (len(shape) - 2))
                down = torch.randn(rank, *shape[1:])
                found[part, name if whole else f"text_model.{name}"] = Both(up, down)
    return found


def peft(found: Pairs) -> dict[str, Tensor]:
    return _named(found, {}, ".lora_A", ".lora_B")


def diffusers_new(found: Pairs) -> dict[str, Tensor]:
    return _named(found, {"unet": ".lora"}, ".down", ".up", other=".lora_linear_layer")


def _named(
    found: Pairs, between: dict[str, str], down: str, up: str, other: str = ""
) -> dict[str, Tensor]:
    weights = {}
    for (part, name), pair in found.items():
        base = f"{part}.{name}{between.get(part, other)}"
        weights |= {f"{base}{down}.weight": pair.down, f"{base}{up}.weight": pair.up}
    return weights


def diffusers_old(found: Pairs) -> dict[str, Tensor]:
    """Attention alone, by the names of its processors."""
    weights = {}
    for (part, name), pair in found.items():
        match = re.fullmatch(r"(.*\.attn[12])\.to_(q|k|v|out)(\.0)?", name)
        if match:
            old = f"{part}.{match[1]}.processor.to_{match[2]}_lora"
            weights |= {f"{old}.down.weight": pair.down, f"{old}.up.weight": pair.up}
    return weights


def kohya(found: Pairs, alpha: float = 2.0) -> dict[str, Tensor]:
    two = any(part == "text_encoder_2" for part, _ in found)
    begins = {"unet": "lora_unet_", "text_encoder": "lora_te1_" if two else "lora_te_",
              "text_encoder_2": "lora_te2_"}  # fmt: skip
    weights = {}
    for (part, name), pair in found.items():
        base = begins[part] + name.replace(".", "_")
        weights[f"{base}.lora_down.weight"] = pair.down
        weights[f"{base}.lora_up.weight"] = pair.up
        weights[f"{base}.alpha"] = torch.tensor(alpha)
    return weights
