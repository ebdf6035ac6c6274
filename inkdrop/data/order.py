"""The order of data: a pure function of the seed and how far training is, so resuming is exact."""

from __future__ import annotations

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
