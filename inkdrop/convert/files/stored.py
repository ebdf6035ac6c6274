"""A weight in a file, read when it is needed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Stored:
    """A tensor in a file: its shape and type are known, and `read` returns it."""

    shape: tuple[int, ...]
    dtype: torch.dtype
    read: Callable[[], Tensor]


# All weights of a file, or of a part of a model, by name.
Weights = Mapping[str, Stored]


def held(tensor: Tensor) -> Stored:
    """A tensor in memory, as if it were in a file."""
    return Stored(tuple(tensor.shape), tensor.dtype, lambda: tensor)


def held_all(weights: Mapping[str, Tensor]) -> dict[str, Stored]:
    """Tensors in memory, as if they were in a file."""
    return {name: held(value) for name, value in weights.items()}


def types_of(values: Iterable[Stored | Tensor]) -> tuple[str, ...]:
    """The names of their types, such as float16, sorted and without repeats."""
    return tuple(sorted({str(value.dtype).removeprefix("torch.") for value in values}))


def under(weights: Weights, prefix: str) -> dict[str, Stored]:
    """The weights whose names begin with a prefix, under their names without it."""
    return {
        name.removeprefix(prefix): value
        for name, value in weights.items()
        if name.startswith(prefix)
    }
