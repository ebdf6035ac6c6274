"""Batches from a data set, as a pure function of the update's number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.data.dataset import SPATIAL, Dataset
from inkdrop.data.order import batch_indices, epoch_order
from inkdrop.data.pictures.augment import flip
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import Batch


def split(data: Dataset, seed: int) -> tuple[Dataset, Dataset | None]:
    """(training, held-out): holds out 1 in 20, at most 256; None if there are fewer than 20."""
    training, held = split_rows(len(data), seed)
    return (data.subset(training), data.subset(held)) if len(held) else (data, None)


def split_rows(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The sorted rows of the training part and of the held-out part of `count` samples."""
    held = min(count // 20, 256)
    order = epoch_order(count, seed, 0)
    return np.sort(order[held:]), np.sort(order[:held])


def gather(data: Dataset, indices: np.ndarray, device: torch.device) -> Batch:
    """The samples at these indices, with their labels and extra conditions."""
    label = None if data.labels is None else torch.from_numpy(data.labels[indices])
    cond = Cond(label=label, **data.take_beside(indices))
    return Batch(data.take(indices).to(device), cond.to(device), called(data, indices))


def called(data: Dataset, indices: np.ndarray) -> Callable[[int], str]:
    """Row -> the name of the sample in that row of a batch of these samples."""
    return lambda row: data.called(int(indices[row]))


def mirrored(batch: Batch, seed: int, update: int, first: int) -> Batch:
    """A batch with samples mirrored at random, together with their spatial conditions.

    first: the row of the update's global batch at which this part starts
    """

    def one(x: Tensor) -> Tensor:
        return flip(x, seed, update, first=first)

    fields = {name: getattr(batch.cond, name) for name in SPATIAL}
    told = {name: one(value) for name, value in fields.items() if value is not None}
    cond = dataclasses.replace(batch.cond, **told)
    return dataclasses.replace(batch, x0=one(batch.x0), cond=cond)


@dataclass(frozen=True)
class Feed:
    """Rows of each update's global batch, in an order that depends on (seed, epoch, position)."""

    data: Dataset
    config: TrainConfig
    device: torch.device

    def __call__(self, update: int, rows: range) -> Batch:
        config = self.config
        indices = batch_indices(len(self.data), config.batch, config.seed, update)
        batch = gather(self.data, indices[rows.start : rows.stop], self.device)
        return mirrored(batch, config.seed, update, rows.start) if config.flip else batch


@dataclass(frozen=True)
class HeldOut:
    """The held-out data; `batch` returns the given rows of it, for the validation loss."""

    data: Dataset
    batch: Callable[[range], Batch]

    def __call__(self, rows: range) -> Batch:
        return self.batch(rows)


def held_out(data: Dataset, config: TrainConfig, device: torch.device) -> HeldOut:
    """Held-out data with its labels and extra conditions, never mirrored."""
    return HeldOut(data, lambda rows: gather(data, np.arange(rows.start, rows.stop), device))
