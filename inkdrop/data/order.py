"""The order of data: a pure function of the seed and how far training is, so resuming is exact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """int64 [n]: the pictures 0 ... n-1 in the order of this epoch, each exactly once.

    Sorted by raw Philox words, whose stream NumPy promises never to change; its `permutation`
    carries no such promise. The array is read-only.
    """
    if n < 1 or epoch < 0:
        raise ValueError(f"an order needs n >= 1 pictures and epoch >= 0, not {n} and {epoch}")
    return _order(n, seed, epoch)


def batch_indices(n: int, batch: int, seed: int, update: int) -> NDArray[np.int64]:
    """int64 [batch]: samples update * batch ... + batch - 1 of the endless row of epochs.

    A batch may span two epochs, or many if there are fewer pictures than it holds.
    """
    if n < 1 or batch < 1 or update < 0:
        raise ValueError(
            f"a batch needs n >= 1 pictures, batch >= 1 and update >= 0, not {n}, {batch}, {update}"
        )
    first = update * batch
    parts = []
    while first < (update + 1) * batch:
        epoch, offset = divmod(first, n)
        part = epoch_order(n, seed, epoch)[offset : offset + (update + 1) * batch - first]
        parts.append(part)
        first += len(part)
    return np.concatenate(parts)


def bucket_turn(counts: Sequence[int], batch: int, seed: int, update: int) -> tuple[int, int]:
    """(bucket, turn): which of several data sets an update draws from, for which time (0 first).

    Its pictures are then `batch_indices(counts[bucket], batch, seed, turn)`: so every data set goes
    through its own epochs, each picture once in every one. After e epochs of all data a data set of
    n had its first floor(e n / batch) turns; within an epoch turns are shuffled.
    """
    if batch < 1 or update < 0 or min(counts, default=0) < 1:
        raise ValueError(
            f"buckets need pictures in each, batch >= 1 and update >= 0, not {list(counts)},"
            f" {batch}, {update}"
        )

    def turns(epoch: int) -> list[int]:
        return [epoch * n // batch for n in counts]

    epoch = update * batch // sum(counts)  # or a later one: what fills no batch waits
    while sum(turns(epoch + 1)) <= update:
        epoch += 1
    had, until = turns(epoch), turns(epoch + 1)
    due = [(b, turn) for b in range(len(counts)) for turn in range(had[b], until[b])]
    order = np.argsort(words(len(due), seed, epoch, purpose=3), kind="stable")
    return due[int(order[update - sum(had)])]


@lru_cache(maxsize=2)  # a batch touches one or two epochs, and asks again at every update
def _order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.argsort(words(n, seed, epoch, purpose=1), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def words(n: int, seed: int, index: int, *, purpose: int) -> NDArray[np.uint64]:
    """uint64 [n] random words that depend on nothing but these numbers, for one purpose each."""
    key = np.array([seed % 2**64, index], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(n)
