"""A data set: pictures that can be asked for by number, with what is known about each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.digest import digest

# decoded pictures up to this many bytes are kept in memory, more are decoded on demand
CACHE_BYTES = 1_500_000_000


class Store(Protocol):
    """Where pictures come from."""

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """float32 [B, C, H, W] in [-1, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Pictures [C, H, W] with labels and captions; nothing in it changes once it is open.

    notes: sentences for the user, to be shown once (the size and its reason, what was skipped)
    fingerprint: sha256 of content and options; the same data has it wherever it lies
    """

    name: str
    shape: tuple[int, int, int]
    store: Store
    count: int
    fingerprint: str
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for what, values in (("labels", self.labels), ("captions", self.captions)):
            if values is not None and len(values) != self.count:
                raise ValueError(
                    f"{self.name} has {self.count} pictures but {len(values)} {what};"
                    " there must be one for each"
                )

    def __len__(self) -> int:
        return self.count

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """float32 [B, C, H, W] in [-1, 1] of the pictures with these numbers, in this order."""
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.count):
            raise IndexError(
                f"{self.name} has pictures 0 to {self.count - 1}, not all of {indices}"
            )
        return self.store.take(wanted)

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """Only these pictures, in this order, with the same label names."""
        wanted = np.asarray(indices, np.int64)
        captions = self.captions
        return dataclasses.replace(
            self,
            store=_Some(self.store, wanted),
            count=len(wanted),
            fingerprint=digest([self.fingerprint, wanted]),
            labels=None if self.labels is None else self.labels[wanted],
            captions=None if captions is None else tuple(captions[i] for i in wanted),
        )

    def describe(self) -> str:
        """One line: how many pictures, their shape, labels and captions."""
        channels, height, width = self.shape
        kind = {1: "grey", 3: "RGB", 4: "RGBA"}.get(channels, f"{channels} channels")
        many = "picture" if self.count == 1 else "pictures"
        parts = [f"{self.name}: {self.count:,} {many}, {width}x{height} {kind}"]
        if self.labels is not None:
            shown = ", ".join(self.label_names[:10]) + (", ..." if self.label_names[10:] else "")
            parts.append(f"{len(self.label_names)} labels ({shown})")
        if self.captions is not None:
            parts.append("captions")
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class _Some:
    store: Store
    indices: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        return self.store.take(self.indices[indices])


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """An array [N, C, H, W], in memory or mapped; the pixel of value v is v / unit - shift."""

    array: NDArray[Any]
    unit: float = 127.5
    shift: float = 1.0

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        values = np.ascontiguousarray(self.array[indices])
        if values.dtype == np.uint16:
            values = values.astype(np.float32)
        return torch.from_numpy(values).float().div_(self.unit).sub_(self.shift)
