"""The engine packed: weights laid out once as oneDNN's kernels read them, and maps channels last.

Without it every call of a convolution lays its weights out anew, which for a large network on small
maps takes as long as the arithmetic. The network stays what it is: its layers are exchanged, one at
a time, so its own code runs it, in parts too, and no weight is held twice.
"""

from __future__ import annotations

import threading
from typing import Any, Literal, NoReturn, TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.engines.cpu import fast_int8, slow_bfloat16
from inkdrop.engines.engine import Engine, Precision, refuse_gradient
from inkdrop.engines.int8 import Alone, Int8Conv, Int8FeedForward, Int8Linear
from inkdrop.networks.attention import FeedForward
from inkdrop.networks.layers import (
    Embed,
    Pointwise,
    Upsample,
    interleaved,
    phases,
    unfolded,
    upsample,
)

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
ONES = [1, 1]
# Up to so many places of all samples a convolution in float32 is a product of matrices; from there
# on it is as fast as one.
FEW = 128


class Packed(nn.Module):
    """A layer whose weight is in a form of oneDNN's own, which no file holds."""

    def _save_to_state_dict(self, *told: Any) -> NoReturn:
        raise ValueError("a packed network cannot be saved; save the one that it was made of")


class Layout(Packed):
    """A convolution over two axes, its weight laid out for maps of one size and right for all."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, seen: torch.Size, dtype: torch.dtype,
        stride: list[int] = ONES, padding: list[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.stride, self.padding = stride, padding or [0, 0]
        self.packed = torch.ops.mkldnn._reorder_convolution_weight(
            weight.detach().to(dtype), self.padding, stride, ONES, 1, list(seen)
        )
        self.bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], channels last."""
        refuse_gradient("packed", x)
        x = x.to(self.packed.dtype, memory_format=torch.channels_last)
        y: Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, self.packed, self.bias, self.padding, self.stride, ONES, 1, "none", [], ""
        )
        return y


class PackedLinear(Packed):
    """A linear layer, its weight laid out for so many rows and right for all."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, seen: torch.Size, dtype: torch.dtype
    ) -> None:
        super().__init__()
        plain, rows = weight.detach().to(dtype), seen[:-1].numel()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain, rows)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def forward(self, x: Tensor, then: Literal["none", "gelu"] = "none") -> Tensor:
        """[..., C] -> [..., O], and what is computed of it in the same pass."""
        refuse_gradient("packed", x)
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "none")
        return y

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """[..., C], [..., O] -> [..., O]: of x, multiplied by the factor in the same pass."""
        refuse_gradient("packed", x, factor)
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, factor, self.packed, self.bias, "mul"
        )
        return y


class Unfolded(nn.Module):
    """A convolution with a kernel of 3 as one product of matrices, for maps of few places.

    There its time is that of reading the weight, which oneDNN's convolutions in float32 do worse:
    of 2560 channels on 4x4 and 8x8 places they take 1.4 times as long.
    """

    def __init__(self, layer: nn.Conv2d, seen: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        weight = layer.weight.detach().permute(0, 2, 3, 1).flatten(1)
        rows = torch.Size([seen[0] * seen[2] * seen[3], weight.shape[1]])
        self.linear = PackedLinear(weight, layer.bias, rows, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H, W], channels last."""
        refuse_gradient("packed", x)
        batch, channels, *sizes = x.shape
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
        # What a row of the kernel sees, three places with their channels, lies side by side.
        rows = padded.as_strided((batch, *sizes, 3, 3 * channels), (*padded.stride()[:3],
                                 padded.stride(1), 1))  # fmt: skip
        y: Tensor = self.linear(rows.reshape(batch, *sizes, 9 * channels))
        return y.permute(0, 3, 1, 2)


class PackedFeedForward(nn.Module):
    """A gated layer: the gate's activation and its product are made with the linear layers."""

    def __init__(self, layer: FeedForward, seen: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        hidden = torch.Size([*seen[:-1], layer.second.in_features])
        weights, biases = layer.first.weight.chunk(2), layer.first.bias.chunk(2)
        self.value, self.gate = (
            PackedLinear(weight, bias, seen, dtype)
            for weight, bias in zip(weights, biases, strict=True)
        )
        self.second = PackedLinear(layer.second.weight, layer.second.bias, hidden, dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[..., dim] -> the same."""
        y: Tensor = self.second(self.value.times(x, self.gate(x, "gelu")))
        return y


class PackedUpsample(nn.Module):
    """Twice each size and a convolution: in phases, whose weights are folded once."""

    def __init__(self, layer: Upsample, seen: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        assert layer.conv is not None
        weight, bias = phases(layer.conv.weight.detach().float(), layer.conv.bias)
        self.phases = Layout(weight, bias, seen, dtype, padding=ONES)

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """[B, C, H, W] -> [B, C, 2 H, 2 W] or the given size, which takes longer."""
        if size is None or all(n == 2 * m for n, m in zip(size, x.shape[2:], strict=True)):
            return interleaved(self.phases(x))
        weight, bias = unfolded(self.phases.packed.to_dense(), self.phases.bias)
        y = F.conv2d(upsample(x, size).to(weight.dtype), weight, bias, padding=1)
        return y


# Layers in float32 that are products of matrices, which sum in an order that depends on the rows.
PRODUCTS = (PackedLinear, PackedFeedForward, Unfolded)


class Unlaid(Packed):
    """A layer that is laid out when it is first called, for then its maps are known."""

    def __init__(self, layer: nn.Module, batch: int, dtype: torch.dtype, alone: bool) -> None:
        super().__init__()
        self.batch, self.dtype, self.alone = batch, dtype, alone
        # In a list it is no part of the network, whose parameters tell of what type it computes.
        self.plain = [layer]
        self.layer: nn.Module | None = None

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        """As the layer."""
        if self.layer is None:
            with _LAYING:
                self._lay(torch.Size([self.batch, *x.shape[1:]]))
        assert self.layer is not None
        y: Tensor = self.layer(x, *more)
        return y

    def _lay(self, seen: torch.Size) -> None:
        if self.layer is not None:  # by another thread
            return
        with torch.no_grad():
            packed = _packed(self.plain[0], seen, self.dtype)
        assert packed is not None
        alone = self.alone and isinstance(packed, PRODUCTS)
        self.layer = (Alone(packed) if alone else packed).eval()
        self.plain.clear()


_LAYING = threading.Lock()


def pack(network: nn.Module, batch: int, dtype: torch.dtype) -> nn.Module:
    """The network with its layers exchanged, in place, for calls of about so many samples.

    Each is exchanged when it is first called: laid out for maps of that size, and right for all.
    The last layer, `output`, stays in float32, in which what it says is used, and beside int8 the
    first one, `input`, does. It is frozen, since oneDNN's layers give no gradient.
    """
    network.requires_grad_(False)
    # Beside int8, whose rounding follows every last digit, the layers are those of one sample.
    _exchange(network, "", 1 if dtype == torch.int8 else batch, dtype)
    return network.float()  # what is left, such as norms


def _exchange(module: nn.Module, place: str, batch: int, dtype: torch.dtype) -> None:
    """Exchanges the layers within a module, which stands at a place such as "up.0."."""
    alone = dtype == torch.int8
    wide = ("output", "input") if alone else ("output",)
    for name, layer in module.named_children():
        if isinstance(layer, Embed):  # few rows, and it tells of what type a network is
            module._modules[name] = Alone(layer) if alone else layer
        elif _is_packable(layer):
            kind = torch.float32 if place + name in wide else dtype
            module._modules[name] = Unlaid(layer, batch, kind, alone)
        else:
            _exchange(layer, f"{place}{name}.", batch, dtype)


def _is_packable(layer: nn.Module) -> bool:
    """True if something takes the place of a layer."""
    if isinstance(layer, Upsample):
        layer = layer.conv if layer.conv is not None else layer
    flat = isinstance(layer, Pointwise) and layer.weight.ndim == 4
    return flat or isinstance(layer, nn.Linear | FeedForward) or _is_convolution(layer)


def _packed(layer: nn.Module, seen: torch.Size, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of a layer that has seen maps of this size; None if nothing does."""
    if dtype == torch.int8:
        # To find the scale of a single vector is all that int8 would add.
        found = None if len(seen) == 2 else _int8(layer, seen)
        return _packed(layer, seen, torch.float32) if found is None else found
    if isinstance(layer, nn.Linear):
        return PackedLinear(layer.weight, layer.bias, seen, dtype)
    if isinstance(layer, FeedForward):
        return PackedFeedForward(layer, seen, dtype)
    if isinstance(layer, Pointwise) and layer.weight.ndim == 4:
        return Layout(layer.weight, layer.bias, seen, dtype)
    if isinstance(layer, Upsample) and layer.conv is not None and layer.conv.weight.ndim == 4:
        return PackedUpsample(layer, seen, dtype)
    if _is_convolution(layer):
        return _convolution(layer, seen, dtype)
    return None


def _int8(layer: nn.Module, seen: torch.Size) -> nn.Module | None:
    """The same in int8."""
    if isinstance(layer, nn.Linear):
        return Int8Linear(layer.weight, layer.bias, seen)
    if isinstance(layer, FeedForward):
        return Int8FeedForward(layer, seen)
    if isinstance(layer, Pointwise) and layer.weight.ndim == 4:
        return Int8Conv(layer.weight, layer.bias, seen)
    if _is_convolution(layer):
        return Int8Conv(layer.weight, layer.bias, seen, *_stride_and_padding(layer))
    return None


def _is_convolution(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    return isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.dilation == (1, 1)


def _convolution(layer: nn.Conv2d, seen: torch.Size, dtype: torch.dtype) -> nn.Module:
    if dtype == torch.float32 and seen[0] * seen[2:].numel() <= FEW and _keeps_size(layer):
        return Unfolded(layer, seen, dtype)
    return Layout(layer.weight, layer.bias, seen, dtype, *_stride_and_padding(layer))


def _stride_and_padding(layer: nn.Conv2d) -> tuple[list[int], list[int]]:
    return list(layer.stride), [int(n) for n in layer.padding]


def _keeps_size(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "it computes on CPUs, by oneDNN; use eager"
    if precision == "int8" and not fast_int8():
        return "this processor has no instructions for int8 (AVX-512 VNNI); use float32"
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _prepare(network: nn.Module, example: tuple[Any, ...], precision: Precision) -> nn.Module:
    return pack(network, len(example[0]), DTYPES[precision])


PACKED = Engine(
    "weights laid out once for oneDNN, in the first step",
    ("float32", "bfloat16", "int8"),
    _lacks,
    _prepare,
    decodes=True,
)
