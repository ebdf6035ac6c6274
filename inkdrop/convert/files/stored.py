"""A weight that lies in a file and is not read before it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor in a file: its shape and type are known, `read` gives it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


# All weights of a file or of a part of a model, by their names there.
Weights = Mapping[str, Stored]


def held(tensor: Tensor) -> Stored:
    """A tensor that is in memory already."""
    return Stored(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def types_of(values: Iterable[Stored | Tensor]) -> tuple[str, ...]:
    """The names of their types, such as float16, each once and in order."""
    return tuple(sorted({str(value.dtype).removeprefix("torch.") for value in values}))


def under(weights: Weights, prefix: str) -> dict[str, Stored]:
    """The weights whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
