"""Layers that multiply whole numbers of 8 bits: weights once, what comes in at every call.

A weight has a scale for each channel of the output. What comes in has one scale and zero for the
whole batch, from its least and its largest number, so that zeros stay exactly zero. Sums are of 32
bits and leave as float32.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

ONES = [1, 1]


def quantized(x: Tensor) -> tuple[Tensor, float, int]:
    """uint8 numbers, the scale and the zero of x = scale (number - zero); nan stays nan."""
    least, largest = torch.aminmax(x)
    low, high = min(float(least), 0.0), max(float(largest), 0.0)
    if not math.isfinite(high - low):
        return torch.zeros_like(x, dtype=torch.uint8), math.nan, 0
    scale = max((high - low) / 255, 1e-30)
    zero = round(-low / scale)
    # A half more, so that leaving out what is behind the point rounds. The zero was rounded as
    # well, so the ends may be half a step outside.
    above = torch.add(torch.tensor(zero + 0.5), x, alpha=1 / scale)
    return above.clamp_(0, 255).to(torch.uint8), scale, zero


def rounded(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """int8 numbers of a weight [O, ...], the scales [O] and the zeros [O], which are 0."""
    weight = weight.detach().float()
    scales = weight.flatten(1).abs().amax(1).clamp_min(1e-30) / 127
    numbers = torch.round(weight / scales.view(-1, *(1,) * (weight.ndim - 1))).to(torch.int8)
    return numbers, scales, torch.zeros(len(weight), dtype=torch.int64)


class Int8Linear(nn.Module):
    """A linear layer."""

    def __init__(self, weight: Tensor, bias: Tensor | None, seen: torch.Size) -> None:
        super().__init__()
        numbers, self.scales, self.zeros = rounded(weight)
        rows = [seen[:-1].numel(), seen[-1]]
        self.packed = torch.ops.onednn.qlinear_prepack(numbers, rows)
        self.bias = None if bias is None else bias.detach().to(torch.float32, copy=True)

    def forward(self, x: Tensor, then: Literal["none", "gelu"] = "none") -> Tensor:
        """[..., C] -> [..., O], and what is computed of it in the same pass."""
        numbers, scale, zero = quantized(x)
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            numbers, scale, zero, self.packed, self.scales, self.zeros, self.bias,
            1.0, 0, torch.float32, then, [], "none",
        )  # fmt: skip
        return y

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """[..., C], [..., O] -> [..., O]: of x, multiplied by the factor."""
        return self(x).mul_(factor)  # type: ignore[no-any-return]


class Int8Conv(nn.Module):
    """A convolution over two axes."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, seen: torch.Size,
        stride: list[int] = ONES, padding: list[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride, self.padding = stride, padding or [0, 0]
        numbers, self.scales, self.zeros = rounded(weight)
        self.packed = torch.ops.onednn.qconv_prepack(
            numbers, self.scales, 1.0, 0, stride, self.padding, ONES, 1, list(seen)
        )
        self.bias = None if bias is None else bias.detach().to(torch.float32, copy=True)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], channels last."""
        # Seen with its channels last it is read along memory.
        numbers, scale, zero = quantized(x.permute(0, 2, 3, 1).contiguous())
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(
            numbers.permute(0, 3, 1, 2), scale, zero, self.packed, self.scales, self.zeros,
            self.bias, self.stride, self.padding, ONES, 1,
            1.0, 0, torch.float32, "none", [], "none",
        )  # fmt: skip
        return y
