"""Weights stored in half precision and computed in float32: half the memory, nearly full speed.

Half-precision arithmetic is 5 to 70 times slower than float32 on a CPU without instructions for it.
Here every layer converts its own weight when it is computed, so only one weight at a time exists in
float32, and pictures are those of the rounded weights, to the bit. float16 keeps 11 significant
bits and bfloat16 only 8, and half-precision checkpoints are float16. bfloat16 is used for layers
beyond float16's range and for weights that a file stores in it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import TypeVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.model import Model
from inkdrop.networks.layers import Pointwise
from inkdrop.weights import largest, make_computable

HALVES = (torch.float16, torch.bfloat16)

M = TypeVar("M", bound=nn.Module)


class Kept(nn.Module):
    """A layer whose weight is a half-precision buffer, so that its parameters show its dtype.

    Each read of `weight` returns a new float32 tensor, so threads can share the layer.
    """

    @property
    def weight(self) -> Tensor:
        """The weight, converted to float32."""
        return self.half_weight.float()

    @property
    def half_weight(self) -> Tensor:
        """The weight as it is stored."""
        return cast(Tensor, self._buffers["weight"])


class HalfLinear(Kept, nn.Linear):  # type: ignore[override]
    """A linear layer."""


class HalfConv1d(Kept, nn.Conv1d):  # type: ignore[override]
    """A convolution over one axis."""


class HalfConv2d(Kept, nn.Conv2d):  # type: ignore[override]
    """A convolution over two axes."""


class HalfConv3d(Kept, nn.Conv3d):  # type: ignore[override]
    """A convolution over three axes."""


class HalfPointwise(Kept, Pointwise):  # type: ignore[override]
    """A convolution with a kernel of 1."""


class HalfEmbedding(Kept, nn.Embedding):  # type: ignore[override]
    """An embedding table; only the rows that are looked up are converted."""

    def forward(self, index: Tensor) -> Tensor:
        """[...] -> [..., D]."""
        return F.embedding(index, self.half_weight).float()


KINDS: dict[type[nn.Module], type[Kept]] = {
    nn.Linear: HalfLinear,
    nn.Conv1d: HalfConv1d,
    nn.Conv2d: HalfConv2d,
    nn.Conv3d: HalfConv3d,
    nn.Embedding: HalfEmbedding,
    Pointwise: HalfPointwise,
}


def halved(model: Model) -> Model:
    """The model with its weights in half precision; use only the result, the model is consumed.

    Layers are converted one by one, so weights mapped from a file are never all in memory. A
    float32 codec is left as it is: it is small, and stays in its file until it is used at the end.
    """
    for part in model.networks:
        make_computable(part)
        if part is not model.codec.module or any(v.dtype in HALVES for v in part.parameters()):
            halve(part)
    return dataclasses.replace(model)


def halve(network: M) -> M:
    """The network with its layers replaced, in place; inputs and outputs are float32.

    network: in float32, float16 or bfloat16
    """
    made = dict[nn.Module, Kept]()  # a layer may be shared by several modules
    for module in list(network.modules()):
        for name, child in module._modules.items():
            if child is not None and (kind := KINDS.get(type(child))) is not None:
                if child not in made:
                    made[child] = _exchanged(child, kind)
                module._modules[name] = made[child]
    for module, name, value in list(_others(network)):
        if value.dtype in HALVES:
            wide = value.detach().float()
            trained = isinstance(value, nn.Parameter)
            setattr(module, name, nn.Parameter(wide, requires_grad=False) if trained else wide)
    return network


def _exchanged(layer: nn.Module, kind: type[Kept]) -> Kept:
    """The same layer with its weight in half precision; consumes the given layer."""
    made = kind.__new__(kind)
    made.__dict__.update(layer.__dict__)
    made._parameters, made._buffers = dict(layer._parameters), dict(layer._buffers)
    weight = made._parameters.pop("weight")
    assert weight is not None
    made._buffers["weight"] = _half(weight.detach())
    layer._parameters.clear()  # so that other references to the layer do not keep its weight alive
    return made


def _half(weight: Tensor) -> Tensor:
    if weight.dtype in HALVES:
        return weight
    fits = largest(weight) <= torch.finfo(torch.float16).max
    return weight.to(torch.float16 if fits else torch.bfloat16)


def _others(network: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """All parameters and buffers that are not the weight of a Kept layer, with their modules."""
    for module in network.modules():
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and not (isinstance(module, Kept) and name == "weight"):
                yield module, name, value
