"""A data set: samples by index, with their labels, captions and other conditions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.config import choose
from inkdrop.data.pictures.survey import Survey
from inkdrop.digest import digest
from inkdrop.registry import medium

# Decoded pictures are kept in memory up to this size; larger data sets are decoded on demand.
CACHE_BYTES = 1_500_000_000

# The fields of `Cond` with the same spatial axes as the samples; they are mirrored and rotated too.
SPATIAL = ("concat", "hint")


class Store(Protocol):
    """Where samples come from."""

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """float32 [B, ...]; for the samples themselves [B, C, *sizes] in [-1, 1]."""
        ...


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples [C, *sizes] with labels and captions; immutable once opened.

    medium: the kind of sample, a key of `registry.MEDIA`
    span: the values, in the data's own units, that -1 and 1 stand for
    notes: sentences to show the user once (the size and why, what was skipped)
    fingerprint: sha256 of content and options; it does not depend on where the data is stored
    captions: one for each sample; several: all captions of each, where any sample has more
    beside: stores with one further condition per sample, by field of `Cond`; see `with_beside`
    names: the samples' names, such as files, in the order in which the data was opened
    rows: the places in that order, if this is a subset
    survey: what its picture files are, of data that is opened from such files
    """

    name: str
    shape: tuple[int, ...]
    store: Store
    count: int
    fingerprint: str
    labels: NDArray[np.int64] | None = None
    label_names: tuple[str, ...] = ()
    captions: tuple[str, ...] | None = None
    several: tuple[tuple[str, ...], ...] | None = None
    notes: tuple[str, ...] = ()
    medium: str = "picture"
    span: tuple[float, float] = (-1.0, 1.0)
    beside: Mapping[str, Store] = dataclasses.field(default_factory=dict)
    names: Sequence[str] | None = None
    rows: NDArray[np.int64] | None = None
    survey: Survey | None = None

    def __post_init__(self) -> None:
        for name in self.beside:
            choose("field of a condition", name, {f.name: f for f in dataclasses.fields(Cond)})
        told = {"labels": self.labels, "captions": self.captions, "lists of captions": self.several}
        for what, values in told.items():
            if values is not None and len(values) != self.count:
                raise ValueError(
                    f"{self.name} has {self.count} samples but {len(values)} {what};"
                    " there must be one for each"
                )

    def __repr__(self) -> str:
        return f"Dataset({self.describe()})"

    def __len__(self) -> int:
        return self.count

    def take(self, indices: Sequence[int] | NDArray[np.int64]) -> Tensor:
        """The samples at these indices, in this order: float32 [B, C, *sizes] in [-1, 1]."""
        return self.store.take(self._numbers(indices))

    def take_beside(self, indices: Sequence[int] | NDArray[np.int64]) -> dict[str, Tensor]:
        """The extra conditions of these samples, by field of `Cond`: [B, ...] each."""
        wanted = self._numbers(indices)
        return {name: store.take(wanted) for name, store in self.beside.items()}

    def texts(self, index: int) -> tuple[str, ...]:
        """All captions of a sample; empty if the data has none."""
        if self.several is not None:
            return self.several[index]
        return () if self.captions is None else (self.captions[index],)

    def _numbers(self, indices: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
        wanted = np.asarray(indices, np.int64).reshape(-1)
        if len(wanted) and (wanted.min() < 0 or wanted.max() >= self.count):
            raise IndexError(f"{self.name} has samples 0 to {self.count - 1}, not all of {indices}")
        return wanted

    def subset(self, indices: Sequence[int] | NDArray[np.int64]) -> Dataset:
        """Only these samples, in this order, with the same label names."""
        wanted = np.asarray(indices, np.int64)
        captions, several = self.captions, self.several
        return dataclasses.replace(
            self,
            store=Some(self.store, wanted),
            count=len(wanted),
            fingerprint=digest([self.fingerprint, wanted]),
            labels=None if self.labels is None else self.labels[wanted],
            captions=None if captions is None else tuple(captions[i] for i in wanted),
            several=None if several is None else tuple(several[i] for i in wanted),
            beside={name: Some(store, wanted) for name, store in self.beside.items()},
            rows=wanted if self.rows is None else self.rows[wanted],
        )

    def called(self, index: int) -> str:
        """The name of a sample for messages: its file, or its number in the data as opened."""
        row = index if self.rows is None else int(self.rows[index])
        return f"sample {row}" if self.names is None else self.names[row]

    def of_class(self, name: str) -> Dataset:
        """The same samples, all of one class; ValueError if they have classes of their own."""
        if self.labels is not None:
            raise ValueError(
                f"{self.name} has classes of its own ({', '.join(self.label_names[:10])}); leave"
                f" out the class {name!r}"
            )
        labels = np.zeros(self.count, np.int64)
        return dataclasses.replace(self, labels=labels, label_names=(name,))

    def describe_shape(self) -> str:
        """The form of one sample, such as "64x64 RGB"."""
        return medium(self.medium).describe(self.shape)

    def describe(self) -> str:
        """One line: the number of samples, their shape, labels, captions and extra conditions."""
        kind = medium(self.medium)
        many = kind.name if self.count == 1 else kind.many
        parts = [f"{self.name}: {self.count:,} {many}, {self.describe_shape()}"]
        if self.labels is not None:
            shown = ", ".join(self.label_names[:10]) + (", ..." if self.label_names[10:] else "")
            count = len(self.label_names)
            parts.append(f"{count} {'label' if count == 1 else 'labels'} ({shown})")
        if self.several is not None:
            parts.append(f"up to {max(map(len, self.several))} captions each")
        elif self.captions is not None:
            parts.append("captions")
        parts += list(self.beside)
        return ", ".join(parts)


@dataclass(frozen=True, eq=False)
class Some:
    """Some samples of a store, in their order in `indices`."""

    store: Store
    indices: NDArray[np.int64]

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """float32 [B, ...]; see `Store`."""
        return self.store.take(self.indices[indices])


@dataclass(frozen=True, eq=False)
class ArrayStore:
    """An array [N, C, *sizes], in memory or memory-mapped; a value v becomes v / unit - shift."""

    array: NDArray[Any]
    unit: float = 127.5
    shift: float = 1.0

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        values = np.ascontiguousarray(self.array[indices])
        if values.dtype not in (np.uint8, np.float16, np.float32):
            # Computed in float64: in float32, values far from 0 would lose their differences. In
            # numpy, because torch does not support uint16 fully.
            return torch.from_numpy((values / self.unit - self.shift).astype(np.float32))
        return torch.from_numpy(values).float().div_(self.unit).sub_(self.shift)
