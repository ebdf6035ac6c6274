"""The order of data: a pure function of seed and update, so that resuming is exact."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray


def epoch_order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """int64 [n], read-only: a permutation of samples 0 ... n-1 for this epoch.

    It sorts raw Philox words, a stream that NumPy guarantees never to change; `permutation` has no
    such guarantee. ValueError unless n >= 1 and epoch >= 0.
    """
    if n < 1 or epoch < 0:
        raise ValueError(f"an order needs n >= 1 samples and epoch >= 0, not {n} and {epoch}")
    return _order(n, seed, epoch)


def batch_indices(n: int, batch: int, seed: int, update: int) -> NDArray[np.int64]:
    """int64 [batch]: entries update * batch ... + batch - 1 of all epochs in a row.

    A batch may span two epochs, or more if it is larger than n. ValueError unless n and batch are
    at least 1 and update at least 0.
    """
    if n < 1 or batch < 1 or update < 0:
        raise ValueError(
            f"a batch needs n >= 1 samples, batch >= 1 and update >= 0, not {n}, {batch}, {update}"
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
    """(bucket, turn): the data set that an update draws from, and how many turns it had before.

    counts: samples in each data set. The batch is `batch_indices(counts[bucket], batch, seed,
    turn)`, so each data set goes through its own epochs, with each sample once per epoch. After e
    epochs of all data, a data set of n samples has had floor(e n / batch) turns; turns are shuffled
    within an epoch. ValueError for an empty bucket, batch < 1 or update < 0.
    """
    if batch < 1 or update < 0 or min(counts, default=0) < 1:
        raise ValueError(
            f"buckets need samples in each, batch >= 1 and update >= 0, not {list(counts)},"
            f" {batch}, {update}"
        )

    def turns(epoch: int) -> list[int]:
        return [epoch * n // batch for n in counts]

    epoch = update * batch // sum(counts)  # or later: samples that do not fill a batch wait
    while sum(turns(epoch + 1)) <= update:
        epoch += 1
    had, until = turns(epoch), turns(epoch + 1)
    due = [(b, turn) for b in range(len(counts)) for turn in range(had[b], until[b])]
    order = np.argsort(words(len(due), seed, epoch, purpose=3), kind="stable")
    return due[int(order[update - sum(had)])]


@lru_cache(maxsize=2)  # every update needs the order of one or two epochs
def _order(n: int, seed: int, epoch: int) -> NDArray[np.int64]:
    order = np.argsort(words(n, seed, epoch, purpose=1), kind="stable").astype(np.int64)
    order.flags.writeable = False
    return order


def words(n: int, seed: int, index: int, *, purpose: int) -> NDArray[np.uint64]:
    """uint64 [n] random words that depend only on these numbers; each use has its own `purpose`."""
    key = np.array([seed % 2**64, index], np.uint64)
    counter = np.array([0, 0, 0, purpose], np.uint64)
    return np.random.Philox(key=key, counter=counter).random_raw(n)
