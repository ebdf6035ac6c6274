"""Weights kept in half precision and computed with in float32: half the memory, nearly the speed.

Arithmetic in half precision is 5 to 70 times slower than float32 on a CPU without instructions for
it. Here every layer raises its own weight as it is computed, so one at a time is there in float32,
and a picture is that of the rounded weights, to the bit. float16 keeps 11 binary digits of a
weight and bfloat16 only 8, and checkpoints of half precision are of float16; bfloat16 is for
layers with numbers beyond float16's, and for what a file holds in it.
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
from inkdrop.weights import largest

HALVES = (torch.float16, torch.bfloat16)

M = TypeVar("M", bound=nn.Module)


class Kept(nn.Module):
    """A layer whose weight is a buffer in half precision, so that parameters tell how it computes.

    Whoever reads `weight` gets it in float32, of its own: threads can share the layer.
    """

    @property
    def weight(self) -> Tensor:
        """The weight, raised."""
        return self.half_weight.float()

    @property
    def half_weight(self) -> Tensor:
        """The weight as it is kept."""
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
    """A table, of which only the rows that are asked for are raised."""

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
    """The model with its weights in half precision; only the returned one is to be used.

    One layer after the other, so weights that are mapped from a file are never all in memory. A
    codec of float32 stays as it is: it is small, and lies in its file until all calls are done.
    """
    for part in model.networks:
        if part is not model.codec.module or any(v.dtype in HALVES for v in part.parameters()):
            halve(part)
    return dataclasses.replace(model)


def halve(network: M) -> M:
    """The network with its layers exchanged, in place; float32 goes in and comes out."""
    made = dict[nn.Module, Kept]()  # a layer may have several places
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
    """The same layer with its weight in half precision."""
    made = kind.__new__(kind)
    made.__dict__.update(layer.__dict__)
    made._parameters, made._buffers = dict(layer._parameters), dict(layer._buffers)
    weight = made._parameters.pop("weight")
    assert weight is not None
    made._buffers["weight"] = _half(weight.detach())
    layer._parameters.clear()  # whoever still knows the layer does not hold its weight
    return made


def _half(weight: Tensor) -> Tensor:
    if weight.dtype in HALVES:
        return weight
    fits = largest(weight) <= torch.finfo(torch.float16).max
    return weight.to(torch.float16 if fits else torch.bfloat16)


def _others(network: nn.Module) -> Iterator[tuple[nn.Module, str, Tensor]]:
    """All that is no kept weight, with the modules that have it."""
    for module in network.modules():
        for name, value in (*module._parameters.items(), *module._buffers.items()):
            if value is not None and not (isinstance(module, Kept) and name == "weight"):
                yield module, name, value
