"""Building blocks of all networks: convolutions over any axes, norms, residual blocks, time."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TimeOrder = Literal["cos_sin", "sin_cos"]
Modulation = Literal["scale_shift", "add"]
Activation = Literal["silu", "gelu", "gelu_tanh", "relu"]
Resample = Literal["up", "down"]

Conv = nn.Conv1d | nn.Conv2d | nn.Conv3d

_CONVS: dict[int, type[Conv]] = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
CONVOLVE: dict[int, Callable[..., Tensor]] = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
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
            return CONVOLVE[x.ndim - 2](x, weight, bias)
        matrix = weight.flatten(1).expand(x.shape[0], -1, -1)
        y = torch.baddbmm(bias[:, None], matrix, x.flatten(2))
        return y.view(x.shape[0], -1, *x.shape[2:])


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
    """Group normalization (Wu and He 2018) with an optional per-sample scale and shift.

    torch's own refuses a group of one value in a batch of one, although it takes it in a batch of
    two. Here it is normalized to 0 in both.
    """

    def forward(
        self, x: Tensor, scale: Tensor | None = None, shift: Tensor | None = None
    ) -> Tensor:
        """[B, C, *spatial] -> norm(x) (1 + scale) + shift, with scale and shift [B, C]."""
        if scale is None or shift is None:
            return self._plain(x)
        if not for_torch(x) or not x.is_contiguous():
            ones = (1,) * (x.ndim - 2)
            scale, shift = scale.view(*scale.shape, *ones), shift.view(*shift.shape, *ones)
            return torch.addcmul(shift, self._plain(x), 1 + scale)
        # Viewed as one sample with B*C channels, the norm's own affine step can apply the
        # modulation: one pass over memory instead of three.
        batch, channels = x.shape[:2]
        weight = torch.addcmul(self.weight, self.weight, scale)
        bias = torch.addcmul(shift, self.bias, 1 + scale)
        joined = x.view(1, batch * channels, *x.shape[2:])
        groups = batch * self.num_groups
        y = torch.group_norm(joined, groups, weight.flatten(), bias.flatten(), self.eps)
        return y.view_as(x)

    def _plain(self, x: Tensor) -> Tensor:
        return torch.group_norm(x, self.num_groups, self.weight, self.bias, self.eps)
