"""Building blocks of all networks: convolutions over any axes, norms, residual blocks, time."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import EllipsisType
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TimeOrder = Literal["cos_sin", "sin_cos"]
Modulation = Literal["scale_shift", "add"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
Resample = Literal["up", "down"]

# From this many positions on, an upsampling is computed in phases. Folding its weights in every
# call takes as long as the convolution saves on a few hundred positions (320 and 1280 channels, one
# core).
FOLDED = 512

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d

_CONVS: dict[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
_POOLS: dict[int, Callable[..., Tensor]] = {
    1: F.avg_pool1d,
    2: F.avg_pool2d,
    3: F.avg_pool3d,
}
_CONV_FUNCTIONS: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "silu": F.silu,
    "gelu": F.gelu,
    "gelu_tanh": partial(F.gelu, approximate="tanh"),
    "relu": F.relu,
}


def conv(
    dims: int,
    channels: int,
    out_channels: int,
    *,
    kernel: int = 3,
    stride: int = 1,
    bias: bool = True,
) -> Conv:
    """A convolution over `dims` axes; an odd kernel is padded with zeros to keep the size."""
    padding = kernel // 2 if kernel % 2 else 0
    return _CONVS[dims](channels, out_channels, kernel, stride=stride, padding=padding, bias=bias)


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


def traced() -> bool:
    """Whether a graph for another engine is being traced, which needs plain ops and open sizes."""
    return bool(torch.jit.is_tracing())  # type: ignore[attr-defined, no-untyped-call]


def for_torch(x: Tensor) -> bool:
    """Whether x is computed by torch's CPU kernels, for which some layers have a faster form."""
    return x.device.type == "cpu" and not traced()


def zeroed(module: nn.Module) -> nn.Module:
    """The module with all its parameters set to zero, so that a new branch adds nothing."""
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    return module


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
    y = _CONV_FUNCTIONS[x.ndim - 2](x, weight, bias, padding=1).contiguous()
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


class Pointwise(nn.Module):
    """A convolution with a kernel of 1: [B, C, *spatial] -> [B, C', *spatial].

    On the CPU it is one matrix product per sample, which trains twice as fast on large maps.
    """

    def __init__(self, dims: int, channels: int, out: int) -> None:
        super().__init__()
        made = conv(dims, channels, out, kernel=1)
        self.weight, self.bias = made.weight, made.bias

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.weight, self.bias
        large = for_torch(x) and math.prod(x.shape[2:]) >= 256
        if bias is None or not large or not x.is_contiguous():
            return _CONV_FUNCTIONS[x.ndim - 2](x, weight, bias)
        matrix = weight.flatten(1).expand(x.shape[0], -1, -1)
        y = torch.baddbmm(bias[:, None], matrix, x.flatten(2))
        return y.view(x.shape[0], -1, *x.shape[2:])


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


def sinusoidal(
    t: Tensor, dim: int, *, order: TimeOrder = "cos_sin", shift: float = 0.0, period: float = 1e4
) -> Tensor:
    """[B] -> [B, dim] float32: the sinusoidal embedding of t (Vaswani et al. 2017, section 3.5).

    t may be fractional. The k-th frequency is period^(-k / (dim/2 - shift)); for an odd `dim` the
    last element is zero. order: whether cosines or sines come first.
    """
    half = dim // 2
    index = torch.arange(half, dtype=torch.float32, device=t.device)
    angle = t.float()[:, None] * torch.exp(index * (-math.log(period) / (half - shift)))
    parts = [angle.cos(), angle.sin()] if order == "cos_sin" else [angle.sin(), angle.cos()]
    if dim % 2:
        parts.append(torch.zeros_like(angle[:, :1]))
    return torch.cat(parts, dim=1)


class Embed(nn.Module):
    """[B, dim] -> [B, out]: linear, SiLU, linear; embeds times and vectors."""

    def __init__(self, dim: int, out: int) -> None:
        super().__init__()
        self.first = nn.Linear(dim, out)
        self.second = nn.Linear(out, out)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.second(F.silu(self.first(x.to(self.first.weight.dtype))))
        return y


class GroupNorm(nn.GroupNorm):
    """Group normalization (Wu and He 2018) with an optional per-sample scale and shift."""

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """[B, C, *spatial] -> norm(x) (1 + scale) + shift, with scale and shift [B, C]."""
        if scale is None or shift is None:
            return super().forward(x)
        if not for_torch(x) or not x.is_contiguous():
            ones = (1,) * (x.ndim - 2)
            scale, shift = scale.view(*scale.shape, *ones), shift.view(*shift.shape, *ones)
            return torch.addcmul(shift, super().forward(x), 1 + scale)
        # Viewed as one sample with B*C channels, the norm's own affine step can apply the
        # modulation: one pass over memory instead of three.
        batch, channels = x.shape[:2]
        weight = torch.addcmul(self.weight, self.weight, scale)
        bias = torch.addcmul(shift, self.bias, 1 + scale)
        joined = x.view(1, batch * channels, *x.shape[2:])
        groups = batch * self.num_groups
        return F.group_norm(joined, groups, weight.flatten(), bias.flatten(), self.eps).view_as(x)


@dataclass(frozen=True)
class BlockStyle:
    """Settings shared by all residual blocks of a network.

    dims: spatial axes; embed: width of the modulating embedding (None: no modulation);
    groups, eps: of the group norms; scale: factor of each residual sum.
    """

    dims: int
    embed: int | None = None
    modulation: Modulation = "scale_shift"
    groups: int = 32
    eps: float = 1e-5
    activation: Activation = "silu"
    dropout: float = 0.0
    scale: float = 1.0

    def norm(self, channels: int) -> GroupNorm:
        """A normalization for this many channels."""
        return GroupNorm(self.groups, channels, eps=self.eps)


class ResBlock(nn.Module):
    """Residual block: norm, activation, conv, modulated norm, activation, dropout, conv.

    Ho et al. 2020, appendix B; scale-shift modulation and resampling inside the block as in
    Dhariwal and Nichol 2021, appendix A. The last convolution starts at zero.
    """

    def __init__(
        self, style: BlockStyle, channels: int, out: int, *, resample: Resample | None = None
    ) -> None:
        super().__init__()
        self.style, self.resample = style, resample
        self.activation = ACTIVATIONS[style.activation]
        self.norm1 = style.norm(channels)
        self.conv1 = conv(style.dims, channels, out)
        self.modulate = None if style.embed is None else self._modulation(style, out)
        self.norm2 = style.norm(out)
        self.dropout = nn.Dropout(style.dropout)
        self.conv2 = zeroed(conv(style.dims, out, out))
        self.shortcut = None if channels == out else Pointwise(style.dims, channels, out)

    @staticmethod
    def _modulation(style: BlockStyle, out: int) -> nn.Linear:
        assert style.embed is not None
        return nn.Linear(style.embed, out * (2 if style.modulation == "scale_shift" else 1))

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """x [B, C, *spatial], emb [B, E] already activated -> [B, out, *spatial].

        size: spatial size after upsampling (None: twice x's).
        """
        h: Tensor = self.activation(self.norm1(x))
        if self.resample is not None:
            h, x = self._resampled(h, size), self._resampled(x, size)
        h = self._modulated(self.conv1(h), emb)
        h = self.conv2(self.dropout(self.activation(h)))
        # In place is safe: the backward pass of a convolution does not need its output.
        h += x if self.shortcut is None else self.shortcut(x)
        return h if self.style.scale == 1.0 else h.mul_(self.style.scale)

    def _resampled(self, x: Tensor, size: torch.Size | None) -> Tensor:
        return pool(x) if self.resample == "down" else upsample(x, size)

    def _modulated(self, h: Tensor, emb: Tensor | None) -> Tensor:
        if self.modulate is None or emb is None:
            return self.norm2(h)  # type: ignore[no-any-return]
        m: Tensor = self.modulate(emb)
        if self.style.modulation == "scale_shift":
            scale, shift = m.chunk(2, dim=1)
            return self.norm2(h, scale, shift)  # type: ignore[no-any-return]
        h += m.view(*m.shape, *(1,) * (h.ndim - 2))
        return self.norm2(h)  # type: ignore[no-any-return]


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
