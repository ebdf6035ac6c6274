"""Arrays of numbers: .npy and .npz files, as pictures (`from_array`) or series (`series.py`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inkdrop.config import choose, nearest
from inkdrop.data import dataset
from inkdrop.data.captions import complete, texts_of
from inkdrop.data.columns import CAPTIONS, pick, unread
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.labels import are_several, classes
from inkdrop.data.numpy_files import Stored, stored_arrays
from inkdrop.data.options import DataOptions
from inkdrop.data.parts import divided
from inkdrop.data.series import from_series, is_series
from inkdrop.digest import digest

_IMAGES = ("images", "image", "x", "X", "data", "arr_0")
_LABELS = ("labels", "label", "y", "Y", "targets", "arr_1")
_BESIDE = (("images", "labels"), ("imgs", "labels"), ("image", "label"), ("img", "label"))


def open_array(path: Path, options: DataOptions) -> Dataset:
    """Pictures or series from an .npy or .npz; pickles are never loaded.

    In an .npz the samples are called images, x, data or arr_0 (or are the only array of 3 or more
    axes), the labels labels, y or arr_1, and captions, an array of words, caption or another of
    `columns.CAPTIONS`; options.image, label and caption give other keys. A
    file x-images.npy without labels takes those of x-labels.npy or .npz beside it (also "imgs" and
    "img"). Of arrays called x_train, y_train, x_test and y_test, or train_images and the like, one
    part is read: options.split, or that of options.image, or the first. ValueError if no array
    fits.
    """
    arrays = stored_arrays(path, options.max_gib)
    axes = 2 if options.medium == "series" else 3
    part, said = _part(arrays, options, axes, path.name)
    if options.image is None:
        key = part[_image_key({name: arrays[part[name]] for name in part}, None, path.name, axes)]
    else:
        key = _image_key(arrays, options.image, path.name, axes)
    label = _label_key(arrays, part, key, options.label, path.name)
    labels, notes = _labels_beside(path, options) if label is None else (arrays[label].load(), [])
    if label is not None and options.label is None and labels is not None and are_several(labels):
        notes = [f"{label} {list(labels.shape)} has no single class for a sample and is not read"]
        labels = None
    notes = [*said, *notes]
    array = _native(arrays[key].load())
    open_as = from_series if is_series(array, options) else from_array
    opened = open_as(array, labels, options, path.name, notes=notes)
    return _captioned(opened, arrays, {key, label}, options.caption)


def from_array(
    array: NDArray[Any],
    labels: NDArray[Any] | Sequence[object] | None,
    options: DataOptions,
    where: str,
    *,
    top: float | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """A data set from an array of pictures [N, H, W], [N, H, W, C] or [N, C, H, W].

    With four axes, the channels are the shorter of the second and the last (the second if equal).
    Values are mapped to [-1, 1]: uint8 from 0 ... 255, uint16 from 0 ... 65535, bool from 0 and 1,
    floats from [0, 1], or unchanged if any is negative. top: map 0 ... top instead. Pictures keep
    their size unless options.size is given: then the centre square is resized with Lanczos.
    ValueError for another shape, dtype or range.
    """
    array, layout = _layout(array, where)
    unit, shift, said = _values(array, where, top)
    if options.buckets is not None:
        raise ValueError(
            f"{where} holds pictures of a single size, so buckets do not apply; use open_data"
        )
    array, changed = _channels(array, options.channels, where)
    if options.size is not None and array.shape[2:] != (options.size, options.size):
        array, unit, shift = _resized(array, options.size, unit, shift)
        changed.append(f"resized to {options.size}x{options.size}, as requested")
    if array.nbytes <= dataset.CACHE_BYTES:
        array = np.ascontiguousarray(array)  # reads a mapped file into memory, packs a view
    index, names = (None, ()) if labels is None else classes(labels, where)
    return Dataset(
        name=where,
        shape=(array.shape[1], array.shape[2], array.shape[3]),
        store=ArrayStore(array, unit, shift),
        count=len(array),
        fingerprint=digest([array, unit, shift, names, *([] if index is None else [index])]),
        labels=index,
        label_names=names,
        notes=(*layout, *said, *changed, *notes),
    )


def _native(array: NDArray[Any]) -> NDArray[Any]:
    """Numbers as torch knows them: extended precision as float64, this machine's byte order."""
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _part(
    arrays: Mapping[str, Stored], options: DataOptions, axes: int, where: str
) -> tuple[dict[str, str], list[str]]:
    """The keys of the arrays that are read, by their names without the part's; and notes.

    axes: the fewest that samples have; a part has samples
    """
    parts = {
        part: keys
        for part, keys in divided(arrays).items()
        if any(arrays[key].ndim >= axes for key in keys.values())
    }
    whole = {key: key for key in arrays}
    alone = set(arrays) - {key for keys in parts.values() for key in keys.values()}
    if not parts or (options.split is None and any(arrays[key].ndim >= axes for key in alone)):
        options.refuse(where, "split")
        return whole, []
    chosen = next((p for p, keys in parts.items() if options.image in keys.values()), None)
    if options.split is not None:
        choose("split", options.split, parts)
        if options.image is not None and chosen != options.split:
            raise ValueError(
                f"image is {options.image!r}, which is not of the part {options.split!r}; leave"
                " one of the two out"
            )
        chosen = options.split
    if chosen is None:
        chosen = next(iter(parts))
    others = [f"split={other!r}" for other in parts if other != chosen]
    said = [f"the part {chosen} is read; {' or '.join(others)} selects another"] if others else []
    return parts[chosen], said


def _image_key(arrays: Mapping[str, Stored], asked: str | None, where: str, axes: int) -> str:
    """The key of the samples, which have at least `axes` axes."""
    shapes = ", ".join(f"{key or 'array'} {list(a.shape)}" for key, a in list(arrays.items())[:6])
    if asked is not None:
        if asked not in arrays:
            hint = nearest(asked, arrays)
            raise ValueError(f"{where} has no array {asked!r}; its arrays are {shapes}.{hint}")
        return asked
    pictures = [key for key, array in arrays.items() if array.ndim >= axes]
    known = [key for key in _IMAGES if key in arrays]
    numbered = [key for key in pictures if key.startswith("arr_")]
    if known and known[0] in pictures and not (known[0] == "arr_0" and len(numbered) > 1):
        return known[0]
    if len(pictures) == 1 or len(arrays) == 1:
        return pictures[0] if pictures else next(iter(arrays))
    if not pictures:
        raise ValueError(
            f"{where} has no array of 3 or 4 axes, as pictures need; its arrays are {shapes}"
        )
    raise ValueError(
        f"{where} holds {len(pictures)} arrays that could be pictures ({shapes}); choose one with"
        " --image (image=...), or stack them into one [N, H, W, C] of a single size and channel"
        " count"
    )


def _label_key(
    arrays: Mapping[str, Stored],
    part: Mapping[str, str],
    image: str,
    asked: str | None,
    where: str,
) -> str | None:
    """The key of the labels: the requested one, or one of a usual name in the part."""
    if asked is not None and asked not in arrays:
        keys = ", ".join(key for key in arrays if key) or "one array without a name"
        raise ValueError(
            f"{where} has no array {asked!r}; it contains {keys}.{nearest(asked, arrays)}"
        )
    known = [part[name] for name in _LABELS if name in part and part[name] != image]
    return asked or (known[0] if known else None)


def _captioned(
    data: Dataset, arrays: Mapping[str, Stored], used: set[str | None], asked: str | None
) -> Dataset:
    """The data with the captions in an array of words, and a note on arrays that are not read."""
    words = [key for key, array in arrays.items() if array.dtype.kind in "US" and key not in used]
    key = pick(words, asked, CAPTIONS, data.name, "caption")
    rest = unread([*arrays], {*used, key}, words, key is not None, "array")
    data = dataclasses.replace(data, notes=(*data.notes, *rest))
    if key is None:
        return data
    cells = arrays[key].load()
    if cells.ndim != 1:
        raise ValueError(f"captions of {data.name} must be [N], not {list(cells.shape)}")
    found = [texts_of(cell, f"{key} of {data.name}") for cell in cells.tolist()]
    captions = complete(found, [data.called(i) for i in range(len(found))], data.name)
    return dataclasses.replace(
        data,
        captions=captions.first,
        fingerprint=digest([data.fingerprint, "captions", captions.first]),
        notes=(*data.notes, *captions.notes),
    )


def _labels_beside(path: Path, options: DataOptions) -> tuple[NDArray[Any] | None, list[str]]:
    for images, labels in _BESIDE:
        beside = path.with_name(path.name.replace(images, labels))
        if images in path.name and beside.is_file():
            arrays = stored_arrays(beside, options.max_gib)
            if len(arrays) == 1:
                return next(iter(arrays.values())).load(), [
                    f"labels are from {beside.name} beside it"
                ]
    return None, []


def _layout(array: NDArray[Any], where: str) -> tuple[NDArray[Any], list[str]]:
    """A view [N, C, H, W], and notes on how the axes were read."""
    shape = list(array.shape)
    if array.ndim == 3 and shape[2] <= 4:
        raise ValueError(
            f"{where} is {shape}, a single picture; a data set is [N, H, W] or [N, H, W, C], and"
            " series [N, L, C] are read with --medium series (medium='series')"
        )
    if array.ndim not in (3, 4):
        raise ValueError(
            f"{where} is {shape}; pictures must be [N, H, W], [N, H, W, C] or [N, C, H, W], and"
            " series [N, L] or [N, C, L] are read with --medium series (medium='series')"
        )
    if array.size == 0:
        raise ValueError(f"{where} is {shape}, which holds no pictures; give an array with values")
    if array.ndim == 3:
        return array[:, None], []
    if shape[1] <= shape[3]:
        return array, [f"{shape} is read as [N, C, H, W]"]
    return array.transpose(0, 3, 1, 2), [f"{shape} is read as [N, H, W, C]"]


def _values(array: NDArray[Any], where: str, top: float | None) -> tuple[float, float, list[str]]:
    """unit and shift, so that v / unit - shift is in [-1, 1], and notes on the range."""
    if top is None and array.dtype == np.bool_:
        top = 1.0
    if top is None and array.dtype in (np.uint8, np.uint16):
        top = float(np.iinfo(array.dtype).max)
    if top is not None:
        return top / 2, 1.0, []
    if array.dtype.kind != "f":
        raise ValueError(
            f"{where} holds {array.dtype}, whose range is unknown; convert it to uint8 (0 to 255),"
            " uint16 (0 to 65535) or floats in [0, 1] or [-1, 1]"
        )
    low, high = float(array.min()), float(array.max())
    if not (np.isfinite(low) and np.isfinite(high)):
        raise ValueError(f"{where} holds values that are NaN or infinite; replace them first")
    if low < -1 or high > 1:
        raise ValueError(
            f"{where} holds floats from {low:g} to {high:g}; scale them to [0, 1] or [-1, 1] first"
        )
    if low < 0:
        return 1.0, 0.0, [f"floats from {low:g} to {high:g} are read as [-1, 1], unchanged"]
    return 0.5, 1.0, [f"floats from {low:g} to {high:g} are read as [0, 1]: 0 black, 1 white"]


def _channels(array: NDArray[Any], asked: int | None, where: str) -> tuple[NDArray[Any], list[str]]:
    """The array with the requested channels: grey repeated, RGB weighted to grey, else an error."""
    have = array.shape[1]
    if asked is None or asked == have:
        return array, []
    if have == 1:
        return np.repeat(array, asked, axis=1), [f"grey is repeated to {asked} channels"]
    if have == 3 and asked == 1:
        weights = np.array([0.299, 0.587, 0.114], np.float32)
        grey = np.tensordot(array, weights, axes=([1], [0]))[:, None]
        whole = np.rint(grey) if array.dtype.kind == "u" else grey
        return whole.astype(array.dtype), ["colour is converted to grey"]
    raise ValueError(
        f"{where} has {have} channels, which cannot be converted to {asked}; leave out"
        f" channels={asked}"
    )


def _resized(
    array: NDArray[Any], size: int, unit: float, shift: float
) -> tuple[NDArray[Any], float, float]:
    """Centre squares resized; uint8 stays uint8, all else becomes float32 clipped to [-1, 1]."""
    from PIL import Image

    height, width = array.shape[2:]
    side = min(height, width)
    left, top = (width - side) / 2, (height - side) / 2
    box, way = (left, top, left + side, top + side), Image.Resampling.LANCZOS
    whole = array.dtype == np.uint8
    out = np.empty((*array.shape[:2], size, size), np.uint8 if whole else np.float32)
    for i, j in np.ndindex(*array.shape[:2]):
        plane = np.ascontiguousarray(array[i, j])
        plane = plane if whole else (plane / unit - shift).astype(np.float32)
        out[i, j] = np.asarray(Image.fromarray(plane).resize((size, size), way, box))
    return (out, unit, shift) if whole else (np.clip(out, -1, 1), 1.0, 0.0)
