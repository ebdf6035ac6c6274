"""Many encoded pictures, from wherever they are, made one size and one kind."""

from __future__ import annotations

import hashlib
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
from inkdrop.data.options import Options
from inkdrop.digest import digest
from inkdrop.media.image import PictureInfo, parse_colour, picture_info, read_image

DEFAULT_SIZE = 64
R = TypeVar("R")


@dataclass(frozen=True)
class Encoded:
    """One encoded picture: its name in messages, and how to get its file or its bytes."""

    name: str
    load: Callable[[], Path | bytes]


@dataclass(frozen=True)
class Form:
    """What every picture is made into: size x size, channels (1, 3 or 4), alpha over background."""

    size: int
    channels: int
    background: str

    def read(self, data: bytes, name: str) -> NDArray[np.uint8]:
        """uint8 [C, size, size]."""
        pixels = read_image(
            data, size=self.size, channels=self.channels, background=self.background, name=name
        )
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))


@dataclass(frozen=True, eq=False)
class Prepared:
    """Readable pictures in one form; `kept` holds their numbers among those that were given."""

    store: Store
    shape: tuple[int, int, int]
    kept: list[int]
    fingerprint: str
    notes: tuple[str, ...]


def prepare(pictures: Sequence[Encoded], options: Options, where: str) -> Prepared:
    """Read all headers, choose size and channels, then decode every picture once.

    Unreadable pictures are skipped and noted up to 1 % of them; more are a ValueError that lists
    the first few. Up to CACHE_BYTES stay in memory; beyond, each is decoded again when asked for.
    """
    if options.channels not in (None, 1, 3, 4):
        raise ValueError(f"pictures have 1, 3 or 4 channels, not channels={options.channels}")
    infos = dict(enumerate(_each(lambda i: _attempt(lambda: _info(pictures[i])), len(pictures))))
    bad = {i: info for i, info in infos.items() if isinstance(info, str)}
    _limit(bad, len(pictures), where)
    good = {i: info for i, info in infos.items() if isinstance(info, PictureInfo)}
    form, notes = _choose(good, pictures, options)
    store, hashes = _decode([pictures[i] for i in good], form)
    results = dict(zip(good, hashes, strict=True))
    bad |= {i: result for i, result in results.items() if isinstance(result, str)}
    _limit(bad, len(pictures), where)
    kept = [i for i in good if i not in bad]
    sums = [f"{pictures[i].name}:{results[i]!r}" for i in kept]
    shape = (form.channels, form.size, form.size)
    return Prepared(store, shape, kept, digest([form, *sums]), (*notes, *_skipped(bad, pictures)))


def share(count: int, total: int, what: str = "picture") -> str:
    """The start of a sentence: "1 of 9 pictures is" or "2 of 9 pictures are"."""
    return (
        f"{count:,} of {total:,} {what}{'' if total == 1 else 's'} {'is' if count == 1 else 'are'}"
    )


def listed(names: Sequence[str], limit: int = 10) -> str:
    """The first few names, with dots for the others."""
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")


def _each(function: Callable[[int], R], count: int) -> Iterator[R]:
    """function(0), function(1), ... by a few threads, in order, a bounded number at a time."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, count, 1024):
            yield from pool.map(function, range(start, min(start + 1024, count)))


def _attempt(function: Callable[[], R]) -> R | str:
    """The result, or the sentence that says why there is none."""
    try:
        return function()
    except ValueError as error:
        return str(error)


def _info(picture: Encoded) -> PictureInfo:
    return picture_info(picture.load(), name=picture.name)


def _bytes(picture: Encoded) -> bytes:
    source = picture.load()
    try:
        return source if isinstance(source, bytes) else source.read_bytes()
    except OSError as error:
        raise ValueError(f"{picture.name} cannot be read: {error.strerror}") from None


def _limit(bad: dict[int, str], total: int, where: str) -> None:
    if len(bad) * 100 > total:
        reasons = [bad[i] for i in sorted(bad)]
        more = f"; and {len(bad) - 3} more" if len(bad) > 3 else ""
        raise ValueError(
            f"{len(bad)} of {total} pictures in {where} cannot be used, and at most 1 % may be"
            f" skipped, so repair or remove them: {'; '.join(reasons[:3])}{more}"
        )


def _skipped(bad: dict[int, str], pictures: Sequence[Encoded]) -> list[str]:
    if not bad:
        return []
    reasons = "; ".join(bad[i] for i in sorted(bad)[:10]) + ("; ..." if len(bad) > 10 else "")
    return [f"{share(len(bad), len(pictures))} skipped: {reasons}"]


def _choose(
    infos: dict[int, PictureInfo], pictures: Sequence[Encoded], options: Options
) -> tuple[Form, list[str]]:
    """The form of a set of pictures, and the sentences that give its reasons."""
    total, background = len(infos), options.background
    coloured = len(set(parse_colour(background))) > 1
    kinds = Counter(3 if i.alpha and coloured else i.channels for i in infos.values())
    channels = options.channels or max(kinds)
    size, reason = _size(infos, pictures, options)
    notes = [reason]
    if channels > 1 and kinds[1]:
        notes.append(f"{share(kinds[1], total)} grey and expanded to RGB")
    if channels == 1 and kinds[3]:
        notes.append(f"{share(kinds[3], total)} in colour and turned to grey")
    alpha = sum(info.alpha for info in infos.values())
    if alpha and channels != 4:
        notes.append(f"{share(alpha, total)} transparent and laid over {background}")
    return Form(size, channels, background), notes


def _size(
    infos: dict[int, PictureInfo], pictures: Sequence[Encoded], options: Options
) -> tuple[int, str]:
    sides = {i: min(info.width, info.height) for i, info in infos.items()}
    least = min(sides, key=lambda i: sides[i])
    size = options.size or min(DEFAULT_SIZE, sides[least])
    if all((info.width, info.height) == (size, size) for info in infos.values()):
        return size, f"size {size}x{size}, as the pictures are stored"
    how = "each is scaled until its shorter side fits, then cropped to its centre"
    if options.size is None and size < DEFAULT_SIZE:
        info = infos[least]
        which = f"{pictures[least].name} ({info.width}x{info.height})"
        return size, f"size {size}x{size}, the shorter side of the smallest picture {which}; {how}"
    reason = "as asked" if options.size else "the default; size=... chooses another"
    small = sum(side < size for side in sides.values())
    enlarged = f"; {share(small, len(infos))} smaller and enlarged" if small else ""
    return size, f"size {size}x{size}, {reason}; {how}{enlarged}"


def _decode(pictures: Sequence[Encoded], form: Form) -> tuple[Store, list[bytes | str]]:
    """A store of the readable ones; for each picture the sha256 of its file, or what is wrong."""
    shape = (len(pictures), form.channels, form.size, form.size)
    fits = int(np.prod(shape)) <= dataset.CACHE_BYTES
    pixels = np.empty(shape if fits else (0,), np.uint8)

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
    """Pictures that do not fit in memory: decoded whenever they are asked for."""

    pictures: list[Encoded]
    form: Form

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        wanted = [self.pictures[i] for i in indices]
        arrays = _each(lambda i: self.form.read(_bytes(wanted[i]), wanted[i].name), len(wanted))
        return torch.from_numpy(np.stack(list(arrays))).float().div_(127.5).sub_(1)
