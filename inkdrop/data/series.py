"""Arrays of numbers as series: curves of any range, mapped to [-1, 1] by a common scale."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inkdrop.data import dataset
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.labels import classes
from inkdrop.data.options import DataOptions
from inkdrop.digest import digest
from inkdrop.media.medium import Span

LARGEST = 1e300  # so that the difference of two values is still a number
CHANNELS = 4  # with at most this many, [N, C, L] is read as series unless pictures are requested


def is_series(array: NDArray[Any], options: DataOptions) -> bool:
    """True if an array is to be read as series: by options.medium, or [N, C, L] of few channels.

    [N, L] could be flattened pictures, so it is read as series only on request.
    """
    if options.medium is not None:
        return options.medium == "series"
    return array.ndim == 3 and array.shape[1] <= CHANNELS < array.shape[2]


def from_series(
    array: NDArray[Any],
    labels: NDArray[Any] | Sequence[object] | None,
    options: DataOptions,
    where: str,
    *,
    notes: Sequence[str] = (),
) -> Dataset:
    """A data set of series from an array [N, L], [N, C, L] or, with few channels, [N, L, C].

    The lowest and highest values are mapped to -1 and 1. If values have both signs, the range is
    widened to be symmetric, so that 0 stays 0. Samples are written in the array's own units.
    ValueError for another shape or dtype, values that are not finite, or a constant array.
    """
    options.refuse(where, "size", "channels")
    if options.buckets is not None:
        raise ValueError(
            f"{where} holds series of a single length, so buckets do not apply; use open_data"
        )
    array, layout = _layout(array, where)
    low, high = span = _span(array, where)
    unit = (high - low) / 2
    shift = low / unit + 1
    index, names = (None, ()) if labels is None else classes(labels, where)
    if array.nbytes <= dataset.CACHE_BYTES:
        array = np.ascontiguousarray(array)  # reads a mapped file into memory, packs a view
    said = f"{layout} series; values from {low:g} to {high:g} become -1 to 1"
    return Dataset(
        name=where,
        shape=array.shape[1:],
        store=ArrayStore(array, unit, shift),
        count=len(array),
        fingerprint=digest(
            [array, unit, shift, names, "series", *([] if index is None else [index])]
        ),
        labels=index,
        label_names=names,
        notes=(said, *notes),
        medium="series",
        span=span,
    )


def _layout(array: NDArray[Any], where: str) -> tuple[NDArray[Any], str]:
    """A view [N, C, L], and the start of a note on how the axes were read."""
    shape = list(array.shape)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where} holds {array.dtype} instead of real numbers; convert it")
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"{where} is {shape}; series must be [N, L] or [N, C, L] and not empty")
    if array.ndim == 2:
        return array[:, None], f"{shape} is read as [N, L]"
    if array.shape[2] <= CHANNELS < array.shape[1]:
        return array.transpose(0, 2, 1), f"{shape} is read as [N, L, C]"
    return array, f"{shape} is read as [N, C, L]"


def _span(array: NDArray[Any], where: str) -> Span:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{where} holds values that are NaN or infinite; replace them first")
    if max(-low, high) > LARGEST:
        raise ValueError(
            f"{where} holds values from {low:g} to {high:g}; divide them, so that none is above"
            f" {LARGEST:g}"
        )
    if low == high:
        raise ValueError(
            f"all values of {where} are {low:g}, so there is nothing to learn; give other data"
        )
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    return low, high
