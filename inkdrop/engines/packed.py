"""The engine packed: weights laid out once as oneDNN's kernels read them, and maps channels last.

Without it every call of a convolution lays its weights out anew, which for a large network on small
maps takes as long as the arithmetic. The network stays what it is: its layers are exchanged, one at
a time, so its own code runs it, in parts too, and no weight is held twice.
"""

from __future__ import annotations

from typing import Any, Literal, NoReturn, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.engines.cpu import fast_int8, slow_bfloat16
from inkdrop.engines.engine import Engine, Precision
from inkdrop.engines.int8 import Int8Conv, Int8Linear
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
# Below so many, to find the scale of what comes in is all that int8 would add.
LEAST = 16


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
        plain = weight.detach().to(dtype).to_mkldnn()
        self.packed = cast(Any, torch._C._nn).mkldnn_reorder_conv2d_weight(
            plain, self.padding, stride, ONES, 1, list(seen)
        )
        self.bias = None if bias is None else bias.detach().to(dtype)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, H, W] -> [B, O, H', W'], channels last."""
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
        x = x.to(self.packed.dtype)
        y: Tensor = torch.ops.mkldnn._linear_pointwise(x, self.packed, self.bias, then, [], "none")
        return y

    def times(self, x: Tensor, factor: Tensor) -> Tensor:
        """[..., C], [..., O] -> [..., O]: of x, multiplied by the factor in the same pass."""
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
        batch, channels, *sizes = x.shape
        padded = F.pad(x.permute(0, 2, 3, 1), (0, 0, 1, 1, 1, 1)).contiguous()
        # What a row of the kernel sees, three places with their channels, lies side by side.
        rows = padded.as_strided((batch, *sizes, 3, 3 * channels), (*padded.stride()[:3],
                                 padded.stride(1), 1))  # fmt: skip
        y: Tensor = self.linear(rows.reshape(batch, *sizes, 9 * channels))
        return y.permute(0, 3, 1, 2)


def _linear(
    weight: Tensor, bias: Tensor | None, seen: torch.Size, dtype: torch.dtype
) -> PackedLinear | Int8Linear:
    if dtype == torch.int8:
        return Int8Linear(weight, bias, seen)
    return PackedLinear(weight, bias, seen, dtype)


class PackedFeedForward(nn.Module):
    """A gated layer: the gate's activation and its product are made with the linear layers."""

    def __init__(self, layer: FeedForward, seen: torch.Size, dtype: torch.dtype) -> None:
        super().__init__()
        hidden = torch.Size([*seen[:-1], layer.second.in_features])
        weights, biases = layer.first.weight.chunk(2), layer.first.bias.chunk(2)
        self.value, self.gate = (
            _linear(weight, bias, seen, dtype) for weight, bias in zip(weights, biases, strict=True)
        )
        self.second = _linear(layer.second.weight, layer.second.bias, hidden, dtype)

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


def pack(network: nn.Module, example: tuple[Any, ...], dtype: torch.dtype) -> nn.Module:
    """The network with its layers exchanged, in place, for such as have seen the example's maps.

    Its last layer, `output`, stays in float32, in which what it says is used, and beside int8 its
    first one, `input`, does. It is frozen, since oneDNN's layers give no gradient.
    """
    network.requires_grad_(False)
    x, *told = example
    kind = next((weight.dtype for weight in network.parameters()), x.dtype)
    _exchange(network, "", _seen(network, (x.to(kind), *told)), dtype)
    return network.float()  # what is left, such as norms


def _exchange(
    module: nn.Module, place: str, seen: dict[str, torch.Size], dtype: torch.dtype
) -> None:
    """Exchanges the layers within a module, which stands at a place such as "up.0."."""
    if isinstance(module, Embed):
        return  # few rows, and it tells of what type a network is
    first = "input" if dtype == torch.int8 else ""
    # By name alone: a list of the layers would hold their weights until all are exchanged.
    for child in list(module._modules):
        path, layer = place + child, module._modules[child]
        if layer is None:
            continue
        kind = torch.float32 if path in ("output", first) else dtype
        packed = _packed(layer, seen[path], kind) if path in seen else None
        if packed is None:
            _exchange(layer, f"{path}.", seen, dtype)
        else:
            module._modules[child] = packed.eval()


def _packed(layer: nn.Module, seen: torch.Size, dtype: torch.dtype) -> nn.Module | None:
    """What takes the place of a layer that has seen maps of this size; None if nothing does."""
    if dtype == torch.int8 and (isinstance(layer, Upsample) or _rows(layer, seen) < LEAST):
        dtype = torch.float32
    if isinstance(layer, nn.Linear):
        return _linear(layer.weight, layer.bias, seen, dtype)
    if isinstance(layer, FeedForward):
        return PackedFeedForward(layer, seen, dtype)
    if isinstance(layer, Pointwise) and layer.weight.ndim == 4:
        if dtype == torch.int8:
            return Int8Conv(layer.weight, layer.bias, seen)
        return Layout(layer.weight, layer.bias, seen, dtype)
    if isinstance(layer, Upsample) and layer.conv is not None and layer.conv.weight.ndim == 4:
        return PackedUpsample(layer, seen, dtype)
    if isinstance(layer, nn.Conv2d) and layer.groups == 1 and layer.dilation == (1, 1):
        return _convolution(layer, seen, dtype)
    return None


def _convolution(layer: nn.Conv2d, seen: torch.Size, dtype: torch.dtype) -> nn.Module:
    if dtype == torch.float32 and _rows(layer, seen) <= FEW and _keeps_size(layer):
        return Unfolded(layer, seen, dtype)
    stride, padding = list(layer.stride), [int(n) for n in layer.padding]
    if dtype == torch.int8:
        return Int8Conv(layer.weight, layer.bias, seen, stride, padding)
    return Layout(layer.weight, layer.bias, seen, dtype, stride, padding)


def _rows(layer: nn.Module, seen: torch.Size) -> int:
    """How many vectors a layer is given: places of all samples."""
    last = isinstance(layer, nn.Linear | FeedForward)
    return seen.numel() // seen[-1 if last else 1]


def _keeps_size(layer: nn.Conv2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))


def _seen(network: nn.Module, example: tuple[Any, ...]) -> dict[str, torch.Size]:
    """The shapes that each layer is called with, found by a call without arithmetic if possible."""
    from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode

    shapes = dict[str, torch.Size]()
    kinds = (nn.Linear, nn.Conv2d, Pointwise, Upsample, FeedForward)
    hooks = [
        layer.register_forward_pre_hook(
            lambda _, args, name=name: shapes.__setitem__(name, args[0].shape)
        )
        for name, layer in network.named_modules()
        if isinstance(layer, kinds)
    ]
    try:
        with torch.no_grad():
            try:
                with FakeTensorMode(allow_non_fake_inputs=True):
                    network(*example)
            except DataDependentOutputException:  # a check of the values that it is told
                network(*example)
    finally:
        for hook in hooks:
            hook.remove()
    return shapes


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return "it computes on CPUs, by oneDNN; use eager"
    if precision == "int8" and not fast_int8():
        return "this processor has no instructions for int8 (AVX-512 VNNI); use float32"
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _prepare(network: nn.Module, example: tuple[Any, ...], precision: Precision) -> nn.Module:
    return pack(network, example, DTYPES[precision])


PACKED = Engine(
    "weights laid out once for oneDNN; seconds to set up",
    ("float32", "bfloat16", "int8"),
    _lacks,
    _prepare,
    decodes=True,
)
