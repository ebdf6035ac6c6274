"""Changing the size of maps: pooling, upsampling, blocks of pixels as channels, padding."""

from __future__ import annotations

import math
from collections.abc import Callable
from types import EllipsisType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.layers import CONVOLVE, conv, for_torch, traced

# From this many positions on, an upsampling is computed in phases. Folding its weights in every
# call takes as long as the convolution saves on a few hundred positions (320 and 1280 channels, one
# core).
FOLDED = 512


def _pool3d(x: Tensor, size: int) -> Tensor:
    # On CPUs torch has no kernel for half precision over three axes.
    return F.avg_pool3d(x.float(), size).to(x.dtype)


_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: _pool3d,
}


def unpatch(x: Tensor, patch: int) -> Tensor:
    """Depth to space: [B, C patch^dims, *spatial] -> [B, C, *spatial * patch]."""
    dims, sizes = x.ndim - 2, x.shape[2:]
    x = x.reshape(x.shape[0], -1, *(patch,) * dims, *sizes)
    order = [n for axis in range(dims) for n in (2 + dims + axis, 2 + axis)]
    return x.permute(0, 1, *order).reshape(*x.shape[:2], *(n * patch for n in sizes))


def blocks(x: Tensor, patch: int) -> Tensor:
    """Space to depth: [B, C, *spatial] -> [B, C patch^dims, *spatial / patch]; undoes `unpatch`."""
    dims, sizes = x.ndim - 2, [n // patch for n in x.shape[2:]]
    x = x.reshape(*x.shape[:2], *(n for size in sizes for n in (size, patch)))
    order = [*range(3, 3 + 2 * dims, 2), *range(2, 2 + 2 * dims, 2)]
    return x.permute(0, 1, *order).reshape(x.shape[0], -1, *sizes)


def pool(x: Tensor) -> Tensor:
    """[B, C, *spatial] -> [B, C, *spatial / 2]: the mean of 2 neighbours along each axis."""
    return _POOLS[x.ndim - 2](x, 2)


def upsample(x: Tensor, size: torch.Size | None = None) -> Tensor:
    """[B, C, *spatial] -> twice each size, or the given spatial size, by nearest neighbour."""
    if size is None:
        return F.interpolate(x, scale_factor=2.0, mode="nearest")
    return F.interpolate(x, size=list(size), mode="nearest")


def upsample_conv(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """conv(upsample(x)) for a kernel of 3, without the large intermediate map: see `phases`."""
    weight, bias = phases(weight, bias)
    y = CONVOLVE[x.ndim - 2](x, weight, bias, padding=1).contiguous()
    return interleaved(y)


def phases(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """A convolution of an upsampled map as one of the map itself: [O, C, 3..] -> [2^d O, C, 2..].

    After nearest-neighbour upsampling two of a kernel's three taps read the same pixel, so each of
    the 2^dims phases of the output is a convolution of x with a kernel of 2 whose taps are sums:
    (w0, w1 + w2) at even and (w0 + w1, w2) at odd positions. That is (2/3)^dims of the arithmetic.
    The input is padded by 1, and `interleaved` merges the phases.
    """
    dims = weight.ndim - 2
    bias = None if bias is None else bias.repeat(2**dims)
    for axis in range(2, 2 + dims):
        first, centre, last = weight.unbind(axis)
        even = torch.stack([first, centre + last], axis)
        weight = torch.cat([even, torch.stack([first + centre, last], axis)])
    return weight, bias


def unfolded(weight: Tensor, bias: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """The inverse of `phases`: [2^d O, C, 2..] -> [O, C, 3..]."""
    dims = weight.ndim - 2
    bias = None if bias is None else bias[: len(bias) // 2**dims]
    for axis in range(1 + dims, 1, -1):
        even, odd = (part.unbind(axis) for part in weight.chunk(2))
        weight = torch.stack([even[0], even[1] - odd[1], odd[1]], axis)
    return weight, bias


def interleaved(y: Tensor) -> Tensor:
    """Phases [B, 2^d C, *(n + 1)] merged into a map [B, C, *2n]; odd phases start one later.

    Phases in channels-last format give a map in channels-last format.
    """
    dims, sizes = y.ndim - 2, [n - 1 for n in y.shape[2:]]
    channels = y.shape[1] // 2**dims
    # Each spatial axis becomes two strided axes, position and phase. A phase is a block of
    # channels, and its stride includes the offset of the odd phases, so nothing is copied here.
    shape, strides = list[int](), list[int]()
    for axis in range(dims):
        place, phase = y.stride(2 + axis), 2**axis * channels * y.stride(1)
        shape += [sizes[axis], 2]
        strides += [place, place + phase]
    doubled = [2 * n for n in sizes]
    if y.stride(1) == 1:
        last = y.as_strided([len(y), *shape, channels], [y.stride(0), *strides, 1])
        return last.reshape(len(y), *doubled, channels).movedim(-1, 1)
    first = y.as_strided([len(y), channels, *shape], [*y.stride()[:2], *strides])
    return first.reshape(len(y), channels, *doubled)


def pad_to_multiple(x: Tensor, multiple: int) -> tuple[Tensor, tuple[slice | EllipsisType, ...]]:
    """x [B, C, *spatial] padded to a multiple by repeating edges, and the index that undoes it."""
    sizes = x.shape[2:]
    extra = [-size % multiple for size in sizes]
    kept = (slice(e // 2, e // 2 + size) for e, size in zip(extra, sizes, strict=True))
    crop: tuple[slice | EllipsisType, ...] = (..., *kept)
    if traced() or any(extra):
        pads = [n for e in reversed(extra) for n in (e // 2, e - e // 2)]
        x = F.pad(x, pads, mode="replicate")
    return x, crop


class Downsample(nn.Module):
    """Halve each size: a convolution of stride 2 if `learned`, else the mean of neighbours.

    padding: "asymmetric" pads only the far end of each axis, as in the original DDPM.
    """

    def __init__(
        self,
        dims: int,
        channels: int,
        *,
        learned: bool = True,
        padding: Literal["symmetric", "asymmetric"] = "symmetric",
    ) -> None:
        super().__init__()
        self.conv = conv(dims, channels, channels, stride=2) if learned else None
        self.ends: list[int] | None = None
        if self.conv is not None and padding == "asymmetric":
            self.conv.padding = (0,) * dims
            self.ends = [0, 1] * dims

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """[B, C, *spatial] -> [B, C, *spatial / 2]."""
        if self.conv is None:
            return pool(x)
        if self.ends is not None and not traced() and min(x.shape[2:]) < 2:
            raise ValueError(
                f"a level has {list(x.shape[2:])} places, which cannot be halved; ask for a larger"
                " size"
            )
        y: Tensor = self.conv(x if self.ends is None else F.pad(x, self.ends))
        return y


class Upsample(nn.Module):
    """Double each size by nearest neighbour, followed by a convolution if `learned`."""

    def __init__(
        self, dims: int, channels: int, *, learned: bool = True, bias: bool = True
    ) -> None:
        super().__init__()
        self.conv = conv(dims, channels, channels, bias=bias) if learned else None

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """[B, C, *spatial] -> [B, C, *2 spatial], or the given spatial size."""
        if self.conv is None:
            return upsample(x, size)
        doubled = size is None or all(n == 2 * m for n, m in zip(size, x.shape[2:], strict=True))
        many = for_torch(x) and x.shape[0] * math.prod(x.shape[2:]) >= FOLDED
        if doubled and many:
            return upsample_conv(x, self.conv.weight, self.conv.bias)
        y: Tensor = self.conv(upsample(x, size))
        return y
