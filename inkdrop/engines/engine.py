"""The definition of an engine: a way to compute a network, behind the network's own signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond

# The number format of multiplications: float32 is exact to rounding; bfloat16 and int8 are faster
# where the machine has instructions for them.
Precision = Literal["float32", "bfloat16", "int8"]


class Call(NamedTuple):
    """The arguments of a network: x [B, C, *spatial], t [B], cond; an example shows the shapes."""

    x: Tensor
    t: Tensor
    cond: Cond


@dataclass(frozen=True)
class Engine:
    """A way to compute a network.

    about: one line for `inkdrop engines`
    precisions: those it supports, the exact one first
    lacks: (network, device, precision) -> why it cannot compute the network on this machine, as a
        clause with the way out, or None if it can
    prepare: (network, example, precision) -> the network computed by this engine, with the same
        signature (x, t, cond) -> output, also for other shapes than the example's. It may consume
        the given network, one layer at a time, so that no weight is held twice.
    controls: whether it supports control networks
    decodes: whether it also prepares other modules, such as an autoencoder's decoder; the example
        is then the tuple of the module's arguments
    """

    about: str
    precisions: tuple[Precision, ...]
    lacks: Callable[[nn.Module, torch.device, Precision], str | None]
    prepare: Callable[[nn.Module, Any, Precision], nn.Module]
    controls: bool = True
    decodes: bool = False


def refuse_gradient(engine: str, *given: Tensor) -> None:
    """ValueError if an input of an engine without gradients requires one.

    Without this check the output would count as a constant, and the gradient would silently be
    wrong.
    """
    if torch.is_grad_enabled() and any(value.requires_grad for value in given):
        raise ValueError(
            f"the engine {engine} has no gradients, which classifier guidance and likelihoods"
            ' need; use --engine eager (engine="eager"), or torch.no_grad() if no gradient is'
            " needed"
        )
