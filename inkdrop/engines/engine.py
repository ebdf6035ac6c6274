"""What an engine is: a way to compute a network, behind the network's own signature."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond

# In what numbers weights and maps are multiplied: float32 is exact to rounding; bfloat16 and int8
# are faster where the machine has instructions for them.
Precision = Literal["float32", "bfloat16", "int8"]


class Call(NamedTuple):
    """What a network is called with: x [B, C, *spatial], t [B], cond; an example tells shapes."""

    x: Tensor
    t: Tensor
    cond: Cond


@dataclass(frozen=True)
class Engine:
    """A way to compute a network.

    about: one line for `inkdrop engines`
    precisions: those that it can multiply in, the exact one first
    lacks: (network, device, precision) -> why it cannot compute that here, as half a sentence with
        the way out, or None if it can
    prepare: (network, example, precision) -> the network, computed by this engine: the same
        (x, t, cond) -> output, for calls of other shapes than the example's too. It may use the
        given network up, a layer at a time, so that no weight is held twice.
    controls: it computes networks with control networks beside them
    decodes: it computes any module, of which the example is all that it is called with, and so an
        autoencoder's decoder too
    """

    about: str
    precisions: tuple[Precision, ...]
    lacks: Callable[[nn.Module, torch.device, Precision], str | None]
    prepare: Callable[[nn.Module, Any, Precision], nn.Module]
    controls: bool = True
    decodes: bool = False


def refuse_gradient(engine: str, *given: Tensor) -> None:
    """ValueError if what an engine without gradients is given asks for one.

    Else it would be taken for a constant, and the rest of the gradient for the whole.
    """
    if torch.is_grad_enabled() and any(value.requires_grad for value in given):
        raise ValueError(
            f"the engine {engine} gives no gradient through a network, which guidance by a"
            ' classifier and likelihoods need; use --engine eager (engine="eager"), or'
            " torch.no_grad() where none is needed"
        )
