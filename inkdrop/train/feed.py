"""From a data set to batches: a pure function of the update's number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from inkdrop.cond import Cond
from inkdrop.data.dataset import Dataset
from inkdrop.data.order import batch_indices, epoch_order
from inkdrop.data.pictures.augment import flip
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import Batch


def split(data: Dataset, seed: int) -> tuple[Dataset, Dataset | None]:
    """(training part, held-out part): one in twenty and at most 256 are held out, none of a few."""
    training, held = split_rows(len(data), seed)
    return (data.subset(training), data.subset(held)) if len(held) else (data, None)


def split_rows(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows of both parts of `count` pictures, in order."""
    held = min(count // 20, 256)
    order = epoch_order(count, seed, 0)
    return np.sort(order[held:]), np.sort(order[:held])


def gather(data: Dataset, indices: np.ndarray, device: torch.device) -> Batch:
    """The pictures and labels with these numbers."""
    x0 = data.take(indices).to(device)
    if data.labels is None:
        return Batch(x0)
    return Batch(x0, Cond(label=torch.from_numpy(data.labels[indices]).to(device)))


@dataclass(frozen=True)
class Feed:
    """The rows of each update's global batch, in the order that (seed, epoch, position) gives."""

    data: Dataset
    config: TrainConfig
    device: torch.device

    def __call__(self, update: int, rows: range) -> Batch:
        config = self.config
        indices = batch_indices(len(self.data), config.batch, config.seed, update)
        batch = gather(self.data, indices[rows.start : rows.stop], self.device)
        if not config.flip:
            return batch
        return Batch(flip(batch.x0, config.seed, update, first=rows.start), batch.cond)


@dataclass(frozen=True)
class HeldOut:
    """The held-out part: `batch` gives its rows, for the validation loss."""

    data: Dataset
    batch: Callable[[range], Batch]

    def __call__(self, rows: range) -> Batch:
        return self.batch(rows)


def held_out(data: Dataset, config: TrainConfig, device: torch.device) -> HeldOut:
    """The pictures and labels of held-out data."""
    return HeldOut(data, lambda rows: gather(data, np.arange(rows.start, rows.stop), device))
