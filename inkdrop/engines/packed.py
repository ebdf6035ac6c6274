"""The engine "packed": weights packed once for oneDNN's kernels, and channels-last maps.

Otherwise every call of a convolution repacks its weights, which for a large network on small maps
takes as long as the arithmetic. The network keeps its own code: only its layers are replaced, one
at a time, so parts of it can be called as before, and no weight is held twice.
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
from inkdrop.networks.layers import Embed, Pointwise
from inkdrop.networks.resample import Upsample, interleaved, phases, unfolded, upsample

DTYPES: dict[Precision, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "int8": torch.int8,
}
ONES = [1, 1]
# Up to this many positions over the batch, a float32 convolution is computed as a matrix product;
# beyond, oneDNN's convolution is as fast.
FEW = 128


class Packed(nn.Module):
    """A layer whose weight is in oneDNN's internal format, which cannot be saved."""

    def _save_to_state_dict(self, *told: Any) -> NoReturn:
        raise ValueError("a packed network cannot be saved; save the model before packing it")


class Layout(Packed):
    """A convolution over two axes, packed for maps of size `seen` and valid for any size."""

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
    """A linear layer, packed for the number of rows in `seen` and valid for any number."""

    def __init__(
        self, weight: Tensor, bias: Tensor | None, seen: torch.Size, dtype: torch.dtype
    ) -> None:
        super().__init__()
        plain, rows = weight.detach().to(dtype), seen[:-1].numel()
        self.packed = torch.ops.mkldnn._reorder_linear_weight(plain, rows)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def forward(self, x: Tensor, then: Literal["none", "gelu"] = "none") -> Tensor:
        """[..., C] -> [..., O], with an activation `then` in the same pass."""
        refuse_gradient("packed", x)
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "none")
        return y

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """x [..., C], factor [..., O] -> [..., O]: the output times the factor, in one pass."""
        refuse_gradient("packed", x, factor)
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise.binary(
            x, factor, self.packed, self.bias, "mul"
        )
        return y


class Unfolded(nn.Module):
    """A convolution with a kernel of 3 as one matrix product (im2col), for maps of few positions.

    There the time goes into reading the weight, at which oneDNN's float32 convolutions are slower:
    with 2560 channels on 4x4 and 8x8 positions they take 1.4 times as long.
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
        # The inputs of one kernel row, three positions with all their channels, are contiguous.
        rows = padded.as_strided((batch, *sizes, 3, 3 * channels), (*padded.stride()[:3],
                                 padded.stride(1), 1))  # fmt: skip
        y: Tensor = self.linear(rows.reshape(batch, *sizes, 9 * channels))
        return y.permute(0, 3, 1, 2)


class PackedFeedForward(nn.Module):
    """A gated feed-forward layer; activation and product are fused into the linear layers."""

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
        """[..., dim] -> the same shape."""
        y: Tensor = self.second(self.value.times(x, self.gate(x, "gelu")))
        return y


class PackedUpsample(nn.Module):
    """Upsampling by 2 and a convolution, computed in phases with weights that are folded once."""

    def __init__(self, layer: Upsample, seen: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        assert layer.conv is not None
        weight, bias = phases(layer.conv.weight.detach().float(), layer.conv.bias)
        self.phases = Layout(weight, bias, seen, dtype, padding=ONES)

    def forward(
        self, x: Tensor, emb: Tensor | None = None, size: torch.Size | None = None
    ) -> Tensor:
        """[B, C, H, W] -> [B, C, 2 H, 2 W], or the given size, which takes longer."""
        if size is None or all(n == 2 * m for n, m in zip(size, x.shape[2:], strict=True)):
            return interleaved(self.phases(x))
        weight, bias = unfolded(self.phases.packed.to_dense(), self.phases.bias)
        y = F.conv2d(upsample(x, size).to(weight.dtype), weight, bias, padding=1)
        return y


# Float32 layers that are matrix products, whose order of summation depends on the number of rows.
PRODUCTS = (PackedLinear, PackedFeedForward, Unfolded)


class Unlaid(Packed):
    """A layer that is packed at its first call, when the size of its maps is known."""

    def __init__(self, layer: nn.Module, batch: int, dtype: torch.dtype, alone: bool) -> None:
        super().__init__()
        self.batch, self.dtype, self.alone = batch, dtype, alone
        # In a list, so that it is not a submodule: a network's dtype is read from its parameters.
        self.plain = [layer]
        self.layer: nn.Module | None = None

    def forward(self, x: Tensor, *more: Any) -> Tensor:
        """As in the layer."""
        if self.layer is None:
            with _LAYING:
                self._lay(torch.Size([self.batch, *x.shape[1:]]))
        assert self.layer is not None
        y: Tensor = self.layer(x, *more)
        return y

    def _lay(self, seen: torch.Size) -> None:
        if self.layer is not None:  # packed by another thread
            return
        with torch.no_grad():
            packed = _packed(self.plain[0], seen, self.dtype)
        assert packed is not None
        alone = self.alone and isinstance(packed, PRODUCTS)
        self.layer = (Alone(packed) if alone else packed).eval()
        self.plain.clear()


_LAYING = threading.Lock()  # one for all layers, because each is packed only once


def pack(network: nn.Module, batch: int, dtype: torch.dtype) -> nn.Module:
    """The network with its layers replaced, in place, for calls of about `batch` samples.

    Each layer is packed at its first call, for maps of that size, and is valid for any size. The
    last layer, `output`, stays in float32, the dtype in which its result is used; with int8 so does
    the first one, `input`. The network is frozen, because oneDNN's layers have no gradients.
    """
    network.requires_grad_(False)
    # int8 rounding amplifies differences in the last digit, so with it layers are packed for one
    # sample and computed one sample at a time.
    _exchange(network, "", 1 if dtype == torch.int8 else batch, dtype)
    return network.float()  # the remaining layers, such as norms


def _exchange(module: nn.Module, place: str, batch: int, dtype: torch.dtype) -> None:
    """Replace the layers within a module; place: its name in the network, such as "up.0."."""
    alone = dtype == torch.int8
    wide = ("output", "input") if alone else ("output",)
    for name, layer in module.named_children():
        if isinstance(layer, Embed):  # cheap, and its weights show the network's dtype
            module._modules[name] = Alone(layer) if alone else layer
        elif _is_packable(layer):
            kind = torch.float32 if place + name in wide else dtype
            module._modules[name] = Unlaid(layer, batch, kind, alone)
        else:
            _exchange(layer, f"{place}{name}.", batch, dtype)


def _is_packable(layer: nn.Module) -> bool:
    """Whether a layer has a packed replacement."""
    if isinstance(layer, Upsample):
        layer = layer.conv if layer.conv is not None else layer
    flat = isinstance(layer, Pointwise) and layer.weight.ndim == 4
    return flat or isinstance(layer, nn.Linear | FeedForward) or _is_convolution(layer)


def _packed(layer: nn.Module, seen: torch.Size, dtype: torch.dtype) -> nn.Module | None:
    """The packed replacement of a layer for maps of size `seen`; None if there is none."""
    if dtype == torch.int8:
        # For a single vector per sample, quantizing costs more than int8 saves.
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
    """The int8 replacement of a layer; None if there is none."""
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
        return "it computes only on CPUs with oneDNN; use eager"
    if precision == "int8" and not fast_int8():
        return "this processor has no int8 instructions (AVX-512 VNNI); use float32"
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _prepare(network: nn.Module, example: tuple[Any, ...], precision: Precision) -> nn.Module:
    return pack(network, len(example[0]), DTYPES[precision])


PACKED = Engine(
    "weights packed for oneDNN in the first step",
    ("float32", "bfloat16", "int8"),
    _lacks,
    _prepare,
    decodes=True,
)
