"""Extra conditions: further data sets that give the network more than a label and a caption."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.config import choose
from inkdrop.data.dataset import SPATIAL, Dataset, Store
from inkdrop.digest import digest

FIELDS = {
    "concat": "joined to the network's input",
    "hint": "a picture for a control network",
    "vector": "numbers added to the embedding of time",
}


def with_beside(data: Dataset, **others: Dataset) -> Dataset:
    """`data` with further data sets, whose sample i is a condition of its own sample i.

    concat, hint: samples [C, *sizes] with the same sizes as the data's; a hint is mapped from
    [-1, 1] to the [0, 1] of `Cond.hint`
    vector: samples [D]

    ValueError for any other name, and for data sets with another number or size of samples.
    """
    for name, other in others.items():
        choose("field of a condition", name, FIELDS)
        _check(data, name, other)
    stores = {n: _Unit(other.store) if n == "hint" else other.store for n, other in others.items()}
    parts = [part for name in sorted(others) for part in (name, others[name].fingerprint)]
    return dataclasses.replace(
        data,
        beside={**data.beside, **stores},
        fingerprint=digest([data.fingerprint, "beside", *parts]),
    )


def _check(data: Dataset, name: str, other: Dataset) -> None:
    if len(other) != len(data):
        raise ValueError(
            f"{name} is {other.name} with {len(other):,} samples, but {data.name} has"
            f" {len(data):,}; sample i of one must belong to sample i of the other"
        )
    if name in SPATIAL and other.shape[1:] != data.shape[1:]:
        raise ValueError(
            f"{name} is {other.name} with samples of size {_sizes(other)}, but those of"
            f" {data.name} are {_sizes(data)}; open both with the same size"
        )
    if name not in SPATIAL and len(other.shape) != 1:
        raise ValueError(
            f"{name} is {other.name} with samples of shape {list(other.shape)}, but a {name} is one"
            " row of numbers [D]"
        )


def _sizes(data: Dataset) -> str:
    return "x".join(map(str, data.shape[1:]))


@dataclass(frozen=True, eq=False)
class _Unit:
    """Samples mapped from [-1, 1] to [0, 1]."""

    store: Store

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        return (self.store.take(indices) + 1) / 2
