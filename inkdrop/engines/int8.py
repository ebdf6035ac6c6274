"""int8 layers: weights are quantized once, activations in every call.

A weight has one scale per output channel. An activation has one scale and zero point per sample,
from its minimum and maximum, so that zero stays exactly zero and a sample does not depend on the
rest of the batch. Products are accumulated in 32 bits and returned as float32.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor, nn

from inkdrop.engines.engine import refuse_gradient
from inkdrop.networks.attention import FeedForward

ONES, NONE = [1, 1], [0, 0]
Then = Literal["none", "gelu"]


def rounded_into(numbers: Tensor, x: Tensor) -> tuple[float, int]:
    """Write x as uint8 into `numbers`; returns (scale, zero) of x = scale (number - zero).

    If x is not finite, the scale is nan, so that the output is nan. ValueError if x requires grad.
    """
    refuse_gradient("packed", x)
    least, largest = torch.aminmax(x)
    low, high = min(float(least), 0.0), max(float(largest), 0.0)
    if not math.isfinite(high - low):
        numbers.zero_()
        return math.nan, 0
    scale = max((high - low) / 255, 1e-30)
    zero = round(-low / scale)
    # Adding a half turns truncation into rounding. The zero point was rounded too, so the ends may
    # lie half a step outside, hence the clamp.
    numbers.copy_(torch.add(torch.tensor(zero + 0.5), x, alpha=1 / scale).clamp_(0, 255))
    return scale, zero


def rounded(weight: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """A weight [O, ...] quantized to int8: numbers [O, ...], scales [O], zero points [O], all 0."""
    # Symmetric, -127 to 127, so that the zero point is 0.
    weight = weight.detach().float()
    scales = weight.flatten(1).abs().amax(1).clamp_min(1e-30) / 127
    numbers = torch.round(weight / scales.view(-1, *(1,) * (weight.ndim - 1))).to(torch.int8)
    return numbers, scales, torch.zeros(len(weight), dtype=torch.int64)


def rescaled(y: Tensor, terms: list[tuple[float, int]], bias: Tensor, sums: Tensor) -> Tensor:
    """Dequantize sums of number * weight [B, ..., O], in place.

    terms: (scale, zero) of each sample; sums: of the weights [O].
    y = scale (sum of number * weight - zero * sum of weight) + bias
    """
    for each, (scale, zero) in zip(y, terms, strict=True):
        torch.add(bias - scale * zero * sums, each, alpha=scale, out=each)
    return y


class Int8Linear(nn.Module):
    """A linear layer: one int8 product for the batch, then a scale for each sample."""

    def __init__(self, weight: Tensor, bias: Tensor | None, seen: torch.Size) -> None:
        super().__init__()
        numbers, self.scales, self.zeros = rounded(weight)
        self.packed = torch.ops.onednn.qlinear_prepack(numbers, [seen[:-1].numel(), seen[-1]])
        self.sums, self.bias = numbers.sum(1) * self.scales, _bias(weight, bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ..., C] -> [B, ..., O]."""
        numbers = torch.empty(x.shape, dtype=torch.uint8)
        terms = [rounded_into(out, each) for out, each in zip(numbers, x, strict=True)]
        return rescaled(self._product(numbers, 1.0, 0, None), terms, self.bias, self.sums)

    def one(self, numbers: Tensor, scale: float, zero: int, then: Then = "none") -> Tensor:
        """The output for one sample's numbers, with an activation `then` in the same pass."""
        return self._product(numbers, scale, zero, self.bias, then)

    def _product(
        self, numbers: Tensor, scale: float, zero: int, bias: Tensor | None, then: Then = "none"
    ) -> Tensor:
        y: Tensor = torch.ops.onednn.qlinear_pointwise(
            numbers, scale, zero, self.packed, self.scales, self.zeros, bias,
            1.0, 0, torch.float32, then, [], "none",
        )  # fmt: skip
        return y


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return torch.zeros(len(weight)) if bias is None else bias.detach().float().clone()


class Int8FeedForward(nn.Module):
    """A gated feed-forward layer, one sample at a time: the hidden activations are large."""

    def __init__(self, layer: FeedForward, seen: torch.Size) -> None:
        super().__init__()
        hidden = torch.Size([*seen[:-1], layer.second.in_features])
        weights, biases = layer.first.weight.chunk(2), layer.first.bias.chunk(2)
        self.value, self.gate = (
            Int8Linear(weight, bias, seen) for weight, bias in zip(weights, biases, strict=True)
        )
        self.second = Int8Linear(layer.second.weight, layer.second.bias, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """[B, ..., dim] -> the same shape."""
        return torch.stack([self._one(each) for each in x])

    def _one(self, x: Tensor) -> Tensor:
        numbers = torch.empty(x.shape, dtype=torch.uint8)
        scale, zero = rounded_into(numbers, x)
        gate = self.gate.one(numbers, scale, zero, "gelu")
        hidden = self.value.one(numbers, scale, zero).mul_(gate)
        numbers = torch.empty(hidden.shape, dtype=torch.uint8)
        return self.second.one(numbers, *rounded_into(numbers, hidden))


class Int8Conv(nn.Module):
    """A convolution over two axes, like `Int8Linear`; a map is padded with its zero point."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, seen: torch.Size,
        stride: list[int] = ONES, padding: list[int] = NONE,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride, self.padding = stride, padding
        numbers, self.scales, self.zeros = rounded(weight)
        self.sums, self.bias = numbers.flatten(1).sum(1) * self.scales, _bias(weight, bias)
        padded = [n + 2 * p for n, p in zip(seen[2:], padding, strict=True)]
        self.packed = torch.ops.onednn.qconv_prepack(
            numbers, self.scales, 1.0, 0, stride, NONE, ONES, 1, [*seen[:2], *padded]
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], channels last."""
        # In channels-last layout all channels of a pixel are contiguous, as the kernel reads them.
        numbers, terms = self._rounded(x.permute(0, 2, 3, 1).contiguous())
        y: Tensor = torch.ops.onednn.qconv2d_pointwise(
            numbers.permute(0, 3, 1, 2), 1.0, 0, self.packed, self.scales, self.zeros,
            None, self.stride, NONE, ONES, 1,
            1.0, 0, torch.float32, "none", [], "none",
        )  # fmt: skip
        rescaled(y.permute(0, 2, 3, 1), terms, self.bias, self.sums)
        return y

    def _rounded(self, x: Tensor) -> tuple[Tensor, list[tuple[float, int]]]:
        """[B, H, W, C] -> padded numbers, and the scale and zero point of each sample."""
        batch, height, width, channels = x.shape
        high, wide = self.padding
        size = batch, height + 2 * high, width + 2 * wide, channels
        numbers, terms = torch.empty(size, dtype=torch.uint8), list[tuple[float, int]]()
        for each, out in zip(x, numbers, strict=True):
            inner = out[high : high + height, wide : wide + width]
            terms.append(rounded_into(inner, each))
            _surround(out, high, wide, terms[-1][1])
        return numbers, terms


def _surround(map_: Tensor, high: int, wide: int, zero: int) -> None:
    """Set the border of a map [H, W, C], `high` rows and `wide` columns, to `zero`."""
    for axis, count in enumerate((high, wide)):
        if count:
            map_.narrow(axis, 0, count).fill_(zero)
            map_.narrow(axis, -count, count).fill_(zero)


class Alone(nn.Module):
    """A float32 layer among int8 layers, computed one sample at a time.

    A matrix product may differ in the last digit between batch sizes. The next int8 layer would
    then round some values differently, and after a few layers all of them.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> the layer's outputs [B, ...]."""
        return torch.cat([self.layer(each) for each in torch.split(x, 1)])
