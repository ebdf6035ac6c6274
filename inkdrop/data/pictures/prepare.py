"""Many encoded pictures, from files or bytes, converted to a common size and kind."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.data import dataset
from inkdrop.data.dataset import Some, Store
from inkdrop.data.options import DataOptions
from inkdrop.data.pictures.buckets import Buckets, Size, assign
from inkdrop.data.pictures.stored import EncodedPicture, Form, Pictures, each
from inkdrop.data.pictures.survey import DamagedError, Survey
from inkdrop.data.pictures.whole import whole
from inkdrop.digest import digest
from inkdrop.media.image import PictureInfo, picture_info
from inkdrop.media.pixels import parse_colour

DEFAULT_SIZE = 64
OUTLIERS = 8  # at most one picture in so many may be smaller than the default size
R = TypeVar("R")


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
    """Read and hash all files, and choose sizes and channels; a picture is decoded when needed.

    A file whose structure does not tell that it is whole is decoded at once. Up to 1 % of
    unreadable pictures are skipped and noted; more are a ValueError that lists the first few.
    Decoded pictures stay in memory if all fit into CACHE_BYTES, else they are decoded at each use.
    """
    if options.channels not in (None, 1, 3, 4):
        raise ValueError(f"channels is {options.channels}: pictures have 1, 3 or 4")
    found = list(each(lambda i: _attempt(lambda: _see(pictures[i])), len(pictures)))
    bad = {i: one for i, one in enumerate(found) if isinstance(one, str)}
    _limit(bad, len(pictures), where)
    seen = {i: one for i, one in enumerate(found) if isinstance(one, _Seen)}
    good = {i: one.info for i, one in seen.items()}
    forms, notes = _choose(good, pictures, options)
    fits = sum(len(n) * math.prod(form.shape) for form, n in forms.items()) <= dataset.CACHE_BYTES
    stores = list[Store]()
    for form, numbers in forms.items():
        of = [pictures[i] for i in numbers], [seen[i] for i in numbers]
        store, faults = _stored(*of, form, fits)
        stores.append(store)
        bad |= {numbers[i]: said for i, said in faults.items()}
    _limit(bad, len(pictures), where)
    members = [[i for i in numbers if i not in bad] for numbers in forms.values()]
    kept = [i for part in members for i in part]
    # Only where something is converted, so that other data keeps its fingerprint.
    converted = ["sRGB"] if any(info.profile == "other" for info in good.values()) else []
    fingerprint = digest(
        [*forms, *converted, *(f"{pictures[i].name}:{seen[i].sha256!r}" for i in kept)]
    )
    shapes = tuple(form.shape for form in forms)
    if options.buckets is None:
        (store,) = stores
    else:
        store = Parts(tuple(stores), shapes, tuple(map(len, members)))
    survey = Survey.of(good, {i: one.sha256 for i, one in seen.items()}, kept, bad)
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


def _attempt(function: Callable[[], R]) -> R | str:
    """The result, or the message of its ValueError."""
    try:
        return function()
    except ValueError as error:
        return str(error)


@dataclass(frozen=True)
class _Seen:
    """What is known of a picture without decoding it; whole: that it can be decoded."""

    info: PictureInfo
    sha256: bytes
    whole: bool


def _see(picture: EncodedPicture) -> _Seen:
    """ValueError for a file that cannot be read or is not a picture."""
    info = picture_info(picture.load(), name=picture.name)
    data = picture.read()
    return _Seen(info, hashlib.sha256(data).digest(), whole(data))


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
    frames = sum(info.frames for info in infos.values())
    if frames:
        first = "the first is read; save the others as files of their own to train on them"
        notes.append(f"{share(frames, total)} of several frames or pages, of which {first}")
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
    # A thumbnail among photos must not make all of them as small as itself.
    least = sorted(sides, key=lambda i: sides[i])[len(sides) // OUTLIERS]
    size = options.size or min(DEFAULT_SIZE, sides[least])
    if all((info.width, info.height) == (size, size) for info in infos.values()):
        return size, f"size {size}x{size}, as stored"
    how = "each is scaled until its shorter side fits, then cropped to the centre"
    small = [i for i in sorted(sides, key=lambda i: sides[i]) if sides[i] < size]
    enlarged = ""
    if small:
        some = listed([_called(pictures[i], infos[i]) for i in small], 3)
        enlarged = f"; {share(len(small), len(infos))} smaller and enlarged: {some}"
    if options.size is None and size < DEFAULT_SIZE:
        which = f"the smallest picture {_called(pictures[least], infos[least])}"
        if small:
            which = "the smallest pictures but a few"
        return size, f"size {size}x{size}, the shorter side of {which}; {how}{enlarged}"
    reason = "as requested" if options.size else "the default; size=... selects another"
    return size, f"size {size}x{size}, {reason}; {how}{enlarged}"


def _called(picture: EncodedPicture, info: PictureInfo) -> str:
    return f"{picture.name} ({info.width}x{info.height})"


def _stored(
    pictures: Sequence[EncodedPicture], seen: Sequence[_Seen], form: Form, fits: bool
) -> tuple[Store, dict[int, str]]:
    """A store of the readable pictures, and the faults of the others by their index here.

    fits: keep what is decoded in memory
    """
    store = Pictures(pictures, [one.sha256 for one in seen], form, fits)
    doubtful = [i for i, one in enumerate(seen) if not one.whole]
    results = list(each(lambda i: _attempt(lambda: store.check(doubtful[i])), len(doubtful)))
    bad = {i: said for i, said in zip(doubtful, results, strict=True) if said is not None}
    good = [i for i in range(len(pictures)) if i not in bad]
    return (Some(store, np.asarray(good, np.int64)) if bad else store), bad


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
