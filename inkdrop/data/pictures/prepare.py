"""Many encoded pictures, from files or bytes, converted to a common size and kind."""

from __future__ import annotations

import hashlib
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.data import dataset
from inkdrop.data.dataset import ArrayStore, Store
from inkdrop.data.options import DataOptions
from inkdrop.data.pictures.buckets import Buckets, Size, assign
from inkdrop.data.pictures.survey import DamagedError, Survey
from inkdrop.digest import digest
from inkdrop.media.image import PictureInfo, picture_info, read_image
from inkdrop.media.pixels import parse_colour

DEFAULT_SIZE = 64
R = TypeVar("R")


@dataclass(frozen=True)
class EncodedPicture:
    """One encoded picture: its name for messages, and a function for its path or bytes."""

    name: str
    load: Callable[[], Path | bytes]


@dataclass(frozen=True)
class Form:
    """The form of all pictures: size, channels (1, 3 or 4), and the colour behind transparency.

    size: side of a square, or (height, width), in pixels
    """

    size: int | Size
    channels: int
    background: str

    def read(self, data: bytes, name: str) -> NDArray[np.uint8]:
        """A picture's file content as uint8 [C, H, W]; ValueError as in `read_image`."""
        pixels = read_image(
            data,
            size=self.size,
            channels=self.channels,
            background=self.background,
            srgb=True,
            name=name,
        )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))

    @property
    def shape(self) -> tuple[int, int, int]:
        """[C, H, W]."""
        height, width = (self.size, self.size) if isinstance(self.size, int) else self.size
        return self.channels, height, width


@dataclass(frozen=True, eq=False)
class Prepared:
    """The readable pictures in one form; kept: their indices among the given ones.

    With buckets the store is `Parts`, `kept` lists one bucket after the other, and the shape is
    that of the first.
    """

    store: Store
    shape: tuple[int, int, int]
    kept: list[int]
    fingerprint: str
    notes: tuple[str, ...]
    survey: Survey


def prepare(pictures: Sequence[EncodedPicture], options: DataOptions, where: str) -> Prepared:
    """Read all headers, choose sizes and channels, then decode every picture once.

    Up to 1 % of unreadable pictures are skipped and noted; more are a ValueError that lists the
    first few. Pictures stay in memory up to CACHE_BYTES in all, else are decoded at each use.
    """
    if options.channels not in (None, 1, 3, 4):
        raise ValueError(f"channels is {options.channels}: pictures have 1, 3 or 4")
    infos = dict(enumerate(_each(lambda i: _attempt(lambda: _info(pictures[i])), len(pictures))))
    bad = {i: info for i, info in infos.items() if isinstance(info, str)}
    _limit(bad, len(pictures), where)
    good = {i: info for i, info in infos.items() if isinstance(info, PictureInfo)}
    forms, notes = _choose(good, pictures, options)
    fits = sum(len(n) * math.prod(form.shape) for form, n in forms.items()) <= dataset.CACHE_BYTES
    stores, results = list[Store](), dict[int, bytes | str]()
    for form, numbers in forms.items():
        store, hashes = _decode([pictures[i] for i in numbers], form, fits)
        stores.append(store)
        results |= zip(numbers, hashes, strict=True)
    bad |= {i: result for i, result in results.items() if isinstance(result, str)}
    _limit(bad, len(pictures), where)
    members = [[i for i in numbers if i not in bad] for numbers in forms.values()]
    kept = [i for part in members for i in part]
    # Only where something is converted, so that other data keeps its fingerprint.
    converted = ["sRGB"] if any(info.profile == "other" for info in good.values()) else []
    fingerprint = digest(
        [*forms, *converted, *(f"{pictures[i].name}:{results[i]!r}" for i in kept)]
    )
    shapes = tuple(form.shape for form in forms)
    if options.buckets is None:
        (store,) = stores
    else:
        store = Parts(tuple(stores), shapes, tuple(map(len, members)))
    survey = Survey.of(good, results, kept, bad)
    notes += _skipped(bad, pictures)
    return Prepared(store, shapes[0], kept, fingerprint, tuple(notes), survey)


def share(count: int, total: int, what: str = "picture") -> str:
    """The start of a sentence: "1 of 9 pictures is" or "2 of 9 pictures are"."""
    return (
        f"{count:,} of {total:,} {what}{'' if total == 1 else 's'} {'is' if count == 1 else 'are'}"
    )


def listed(names: Sequence[str], limit: int = 10) -> str:
    """The first few names, then "..." if there are more."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _each(function: Callable[[int], R], count: int) -> Iterator[R]:
    """function(0), function(1), ... on a few threads, in order, a bounded number at a time."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, count, 1024):
            yield from pool.map(function, range(start, min(start + 1024, count)))


def _attempt(function: Callable[[], R]) -> R | str:
    """The result, or the message of its ValueError."""
    try:
        return function()
    except ValueError as error:
        return str(error)


def _info(picture: EncodedPicture) -> PictureInfo:
    return picture_info(picture.load(), name=picture.name)


def _bytes(picture: EncodedPicture) -> bytes:
    source = picture.load()
    try:
        return source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ValueError(f"{picture.name} cannot be read: {error.strerror}") from None


def _limit(bad: dict[int, str], total: int, where: str) -> None:
    if len(bad) * 100 > total:
        reasons = [bad[i] for i in sorted(bad)]
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise DamagedError(
            f"{len(bad)} of {total} pictures in {where} cannot be used, but at most 1 % may be"
            f" skipped; repair or remove them: {'; '.join(reasons[:3])}{more}",
            reasons,
        )


def _skipped(bad: dict[int, str], pictures: Sequence[EncodedPicture]) -> list[str]:
    if not bad:
        return []
    reasons = "; ".join(bad[i] for i in sorted(bad)[:10]) + ("; ..." if len(bad) > 10 else "")
    return [f"{share(len(bad), len(pictures))} skipped: {reasons}"]


def _choose(
    infos: dict[int, PictureInfo], pictures: Sequence[EncodedPicture], options: DataOptions
) -> tuple[dict[Form, list[int]], list[str]]:
    """Forms with the indices of their pictures, and notes with the reasons."""
    total, background = len(infos), options.background
    coloured = len(set(parse_colour(background))) > 1
    kinds = Counter(3 if i.alpha and coloured else i.channels for i in infos.values())
    channels = options.channels or max(kinds)
    sizes: dict[int | Size, list[int]]
    if options.buckets is None:
        size, reason = _size(infos, pictures, options)
        sizes = {size: list(infos)}
    else:
        sizes, reason = _bucketed(infos, options.buckets)
    notes = [reason]
    if channels > 1 and kinds[1]:
        notes.append(f"{share(kinds[1], total)} grey and expanded to RGB")
    if channels == 1 and kinds[3]:
        notes.append(f"{share(kinds[3], total)} in colour and converted to grey")
    alpha = sum(info.alpha for info in infos.values())
    if alpha and channels != 4:
        notes.append(f"{share(alpha, total)} transparent and composited over {background}")
    profiles = Counter(info.profile for info in infos.values())
    if profiles["other"]:
        start = share(profiles["other"], total)
        notes.append(f"{start} in another colour space by the profile and converted to sRGB")
    if profiles["damaged"]:
        start = share(profiles["damaged"], total)
        notes.append(f"{start} with a colour profile that cannot be used, and taken as sRGB")
    return {Form(size, channels, background): sizes[size] for size in sizes}, notes


def _bucketed(
    infos: dict[int, PictureInfo], buckets: Buckets
) -> tuple[dict[int | Size, list[int]], str]:
    numbers = list(infos)
    found = assign([(infos[i].height, infos[i].width) for i in numbers], buckets)
    shown = ", ".join(f"{width}x{height} ({len(of)})" for (height, width), of in found.items())
    reason = f"sizes {shown}; each picture is scaled to cover the nearest one, then cropped"
    return {shape: [numbers[i] for i in of] for shape, of in found.items()}, reason


def _size(
    infos: dict[int, PictureInfo], pictures: Sequence[EncodedPicture], options: DataOptions
) -> tuple[int, str]:
    sides = {i: min(info.width, info.height) for i, info in infos.items()}
    least = min(sides, key=lambda i: sides[i])
    size = options.size or min(DEFAULT_SIZE, sides[least])
    if all((info.width, info.height) == (size, size) for info in infos.values()):
        return size, f"size {size}x{size}, as stored"
    how = "each is scaled until its shorter side fits, then cropped to the centre"
    if options.size is None and size < DEFAULT_SIZE:
        info = infos[least]
        which = f"{pictures[least].name} ({info.width}x{info.height})"
        return size, f"size {size}x{size}, the shorter side of the smallest picture {which}; {how}"
    reason = "as requested" if options.size else "the default; size=... selects another"
    small = sum(side < size for side in sides.values())
    enlarged = f"; {share(small, len(infos))} smaller and enlarged" if small else ""
    return size, f"size {size}x{size}, {reason}; {how}{enlarged}"


def _decode(
    pictures: Sequence[EncodedPicture], form: Form, fits: bool
) -> tuple[Store, list[bytes | str]]:
    """A store of the readable pictures; and for each picture its file's sha256, or an error.

    fits: keep all of them in memory
    """
    pixels = np.empty((len(pictures), *form.shape) if fits else (0,), np.uint8)

    def one(i: int) -> bytes:
        data = _bytes(pictures[i])
        decoded = form.read(data, pictures[i].name)
        if fits:
            pixels[i] = decoded
        return hashlib.sha256(data).digest()

    results = list(_each(lambda i: _attempt(lambda: one(i)), len(pictures)))
    good = [i for i, result in enumerate(results) if isinstance(result, bytes)]
    if not fits:
        return _OnDemand([pictures[i] for i in good], form), results
    return ArrayStore(pixels if len(good) == len(pictures) else pixels[good]), results


@dataclass(frozen=True, eq=False)
class _OnDemand:
    """Pictures that do not fit in memory, decoded at each use."""

    pictures: list[EncodedPicture]
    form: Form

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        wanted = [self.pictures[i] for i in indices]
        arrays = _each(lambda i: self.form.read(_bytes(wanted[i]), wanted[i].name), len(wanted))
        return torch.from_numpy(np.stack(list(arrays))).float().div_(127.5).sub_(1)


@dataclass(frozen=True, eq=False)
class Parts:
    """Pictures of several sizes, with a store for each size, numbered consecutively."""

    stores: tuple[Store, ...]
    shapes: tuple[tuple[int, int, int], ...]
    counts: tuple[int, ...]

    def spans(self) -> Iterator[tuple[int, int, tuple[int, int, int]]]:
        """First index, count and shape [C, H, W] of each part that is not empty."""
        first = 0
        for count, shape in zip(self.counts, self.shapes, strict=True):
            if count:
                yield first, count, shape
            first += count

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """float32 [B, C, H, W]; all indices must be in the same part."""
        ends = np.cumsum(self.counts)
        part = int(np.searchsorted(ends, indices.min(), side="right"))
        assert indices.max() < ends[part], "a batch is of one part"
        return self.stores[part].take(indices - (ends[part] - self.counts[part]))
