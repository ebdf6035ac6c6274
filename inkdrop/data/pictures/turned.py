"""A data set in all four quarter turns: more data, where orientation matters little."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.data.dataset import SPATIAL, Dataset, Store
from inkdrop.digest import digest

TURNS = 4


def turned(data: Dataset) -> Dataset:
    """The pictures unchanged, then all of them rotated by 90, 180 and 270 degrees.

    Labels, captions and further conditions are repeated. ValueError if they are not square.
    """
    _, height, width = data.shape
    names = [data.called(i) for i in range(len(data))]
    if height != width:
        raise ValueError(
            f"{data.name} has pictures of {width}x{height}; open them square to rotate them"
        )
    return dataclasses.replace(
        data,
        store=_Turned(data.store, len(data)),
        count=TURNS * len(data),
        fingerprint=digest([data.fingerprint, "in four quarter turns"]),
        labels=None if data.labels is None else np.tile(data.labels, TURNS),
        captions=None if data.captions is None else data.captions * TURNS,
        names=names * TURNS,
        rows=None,
        several=None if data.several is None else data.several * TURNS,
        beside={
            name: (_Turned if name in SPATIAL else _Repeated)(store, len(data))
            for name, store in data.beside.items()
        },
    )


@dataclass(frozen=True, eq=False)
class _Turned:
    store: Store
    count: int

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        turns, own = np.divmod(indices, self.count)
        pictures = self.store.take(own)
        if not len(pictures):
            return pictures
        return torch.stack([x.rot90(int(k), (1, 2)) for k, x in zip(turns, pictures, strict=True)])


@dataclass(frozen=True, eq=False)
class _Repeated:
    store: Store
    count: int

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        return self.store.take(indices % self.count)
