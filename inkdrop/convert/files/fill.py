"""Networks filled with weights under other names, which are mapped, not copied."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.report import PartReport
from inkdrop.convert.files.stored import Stored, Weights, types_of
from inkdrop.weights import on_meta, put_weights

N = TypeVar("N", bound=nn.Module)


class Source(Protocol):
    """Weights under the names of a foreign file."""

    @property
    def naming(self) -> Naming: ...
    @property
    def weights(self) -> Weights: ...


def filled(
    make: Callable[[], N], source: Source, name: str, where: str, dtype: torch.dtype | None
) -> tuple[N, PartReport]:
    """A network with foreign weights, in evaluation mode, and the report of each weight.

    make: builds the network; name, where: the part and the file, for messages
    dtype: of all weights; None: the stored type, or the widest if there are several
    Weights that keep their type stay in the file. ValueError unless all of them fit.
    """
    weights = source.weights
    with on_meta():
        network = make()
    wanted = {ours: tuple(value.shape) for ours, value in network.state_dict().items()}
    theirs = source.naming.table(wanted)
    report = compared(name, wanted, theirs, weights)
    report.check(where)
    check_floats(f"{where}, {name}", {foreign: weights[foreign] for foreign in theirs.values()})
    values = {ours: _shaped(weights[foreign], wanted[ours]) for ours, foreign in theirs.items()}
    return put_weights(network, values, dtype), report


def compared(
    name: str,
    wanted: Mapping[str, tuple[int, ...]],
    theirs: Mapping[str, str],
    weights: Weights,
) -> PartReport:
    """Which weights of a file fit.

    wanted: our names and shapes; theirs: our names -> the foreign ones
    """
    ours = {foreign: own for own, foreign in theirs.items()}
    fits = {n for n in ours if n in weights and _fits(weights[n].shape, wanted[ours[n]])}
    return PartReport(
        name,
        used=len(fits),
        numbers=sum(prod(weights[n].shape) for n in fits),
        dtypes=types_of(weights[n] for n in fits),
        missing={n: wanted[own] for n, own in ours.items() if n not in weights},
        unused={n: value.shape for n, value in weights.items() if n not in ours},
        misshapen={n: weights[n].shape for n in ours if n in weights and n not in fits},
    )


def _fits(found: tuple[int, ...], wanted: tuple[int, ...]) -> bool:
    """True for the same shape, or for a convolution with a kernel of 1 as a linear layer."""
    return found == wanted or (found[:2] == wanted and set(found[2:]) == {1})


def _shaped(stored: Stored, shape: tuple[int, ...]) -> Tensor:
    return stored.read().view(shape)


def check_floats(where: str, weights: Weights) -> None:
    """ValueError for integers, which quantized models hold in place of weights."""
    for name, value in weights.items():
        if not value.dtype.is_floating_point:
            raise ValueError(
                f"{where}: {name} holds whole numbers ({value.dtype}): a quantized model, which is"
                " not read here; get the plain one"
            )
