"""Arrays of numbers as series: curves of any values, brought to [-1, 1] by one scale for all."""

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

CHANNELS = 4  # up to so many, [N, C, L] is a series unless pictures are asked for


def is_series(array: NDArray[Any], options: DataOptions) -> bool:
    """Whether an array is read as series: as asked, or where [N, C, L] cannot be pictures.

    [N, L] may be pictures that somebody flattened, so series of it are read only where asked for.
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
    """A data set of an array [N, L], [N, C, L] or, of few channels, [N, L, C].

    -1 and 1 stand for the lowest and the highest value of all or, where there are both negative and
    positive ones, for the same distance below and above 0. Samples are written in these units.
    """
    options.refuse(where, "size", "channels")
    if options.buckets is not None:
        raise ValueError(f"{where} holds series, which have one length and no buckets")
    array, layout = _layout(array, where)
    low, high = span = _span(array, where)
    unit = (high - low) / 2
    shift = low / unit + 1
    index, names = (None, ()) if labels is None else classes(labels, where)
    if array.nbytes <= dataset.CACHE_BYTES:
        array = np.ascontiguousarray(array)  # a mapped file is read, a view is packed
    said = f"{layout} series; -1 and 1 stand for {low:g} and {high:g}"
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
    """A view [N, C, L], and the start of a sentence about it."""
    shape = list(array.shape)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"{where} holds {array.dtype}, and series are real numbers; convert them")
    if array.ndim not in (2, 3) or array.size == 0:
        raise ValueError(f"{where} is {shape}; series are [N, L] or [N, C, L], with values in each")
    if array.ndim == 2:
        return array[:, None], f"{shape} is read as [N, L]"
    if array.shape[2] <= CHANNELS < array.shape[1]:
        return array.transpose(0, 2, 1), f"{shape} is read as [N, L, C]"
    return array, f"{shape} is read as [N, C, L]"


def _span(array: NDArray[Any], where: str) -> Span:
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{where} holds values that are NaN or infinite; replace them first")
    if low == high:
        raise ValueError(f"all values of {where} are {low:g}; there is nothing to learn from")
    if low < 0 < high:
        high = max(-low, high)
        low = -high
    return low, high
