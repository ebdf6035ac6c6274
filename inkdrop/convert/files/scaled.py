"""Scaled fp8: weights stored in 8 bits, each beside the scale by which it is multiplied.

ComfyUI's and other programs' files have them. What is read here is the product, in float32.
"""

from __future__ import annotations

from math import prod

import torch
from torch import Tensor

from inkdrop.convert.files.stored import Stored, Weights

# How the name of a weight's scale ends, in place of "weight".
SCALES = ("scale_weight", "weight_scale")
# What is for arithmetic in 8 bits, which is not done here: scales of inputs, and marks.
BESIDE = ("scale_input", "input_scale", "comfy_quant", "scaled_fp8")


def unscaled(weights: Weights, where: str) -> dict[str, Stored]:
    """The weights multiplied by their scales, which are then left out.

    Weights without a scale, and all of a file that has none, stay as they are. ValueError for a
    scale of another shape than one number, or one for each output.
    """
    scales = {
        _layer(name): value
        for name, value in weights.items()
        if _end(name) in SCALES and _is_scaled(weights, _layer(name))
    }
    if not scales:
        return dict(weights)
    kept = {n: v for n, v in weights.items() if _end(n) not in (*SCALES, *BESIDE)}
    return kept | {
        f"{layer}weight": _product(weights[f"{layer}weight"], scale, f"{where}: {layer}weight")
        for layer, scale in scales.items()
    }


def _is_scaled(weights: Weights, layer: str) -> bool:
    """Whether there is a weight of floating point for a scale; integers are quantized otherwise."""
    found = weights.get(f"{layer}weight")
    return found is not None and found.dtype.is_floating_point


def _layer(name: str) -> str:
    """A name without its last part, with the dot before it."""
    return name[: len(name) - len(_end(name))]


def _end(name: str) -> str:
    return name.rpartition(".")[2]


def _product(weight: Stored, scale: Stored, where: str) -> Stored:
    count = prod(scale.shape)
    if count not in (1, *weight.shape[:1]) or not scale.dtype.is_floating_point:
        raise ValueError(
            f"{where} of {list(weight.shape)} has scales of {list(scale.shape)} ({scale.dtype}),"
            " which are not read here: one number, or one for each output, is; get the plain model"
        )

    def read() -> Tensor:
        factor = scale.read().float().reshape(-1, *[1] * (len(weight.shape) - 1))
        return weight.read().float() * factor

    return Stored(weight.shape, torch.float32, read)
