"""Encoded pictures as a store: each is decoded when it is first needed."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.data.dataset import ArrayStore
from inkdrop.data.pictures.buckets import Size
from inkdrop.media.image import read_image

R = TypeVar("R")


@dataclass(frozen=True)
class EncodedPicture:
    """One encoded picture: its name for messages, and a function for its path or bytes."""

    name: str
    load: Callable[[], Path | bytes]

    def read(self) -> bytes:
        """The content of its file; ValueError if it cannot be read."""
        source = self.load()
        try:
            return source if isinstance(source, bytes) else source.read_bytes()
        except OSError as error:
            raise ValueError(f"{self.name} cannot be read: {error.strerror}") from None


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
class Pictures:
    """Pictures in one form, decoded when they are needed; any number of threads may ask.

    hashes: the sha256 of each file when the data was opened
    fits: keep what was decoded in memory, else decode at each use
    """

    pictures: Sequence[EncodedPicture]
    hashes: Sequence[bytes]
    form: Form
    fits: bool
    pixels: NDArray[np.uint8] = field(init=False, repr=False)
    known: NDArray[np.bool_] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.pictures) if self.fits else 0
        # Reserved, but no memory is taken until a picture is written into it.
        object.__setattr__(self, "pixels", np.empty((count, *self.form.shape), np.uint8))
        object.__setattr__(self, "known", np.zeros(count, bool))

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        """float32 [B, C, H, W] in [-1, 1]; ValueError for a file that is damaged or has changed."""
        if not self.fits:
            found = list(each(lambda i: self._decoded(int(indices[i])), len(indices)))
            return ArrayStore(np.stack(found)).take(np.arange(len(indices)))
        missing = np.unique(indices[~self.known[indices]])
        if len(missing):
            for _ in each(lambda i: self._keep(int(missing[i])), len(missing)):
                pass
        return ArrayStore(self.pixels).take(indices)

    def check(self, index: int) -> None:
        """Decodes one picture, so that a damaged file is a ValueError now."""
        if self.fits:
            self._keep(index)
        else:
            self._decoded(index)

    def _keep(self, index: int) -> None:
        self.pixels[index] = self._decoded(index)
        self.known[index] = True  # afterwards, for the other threads

    def _decoded(self, index: int) -> NDArray[np.uint8]:
        picture = self.pictures[index]
        data = picture.read()
        if hashlib.sha256(data).digest() != self.hashes[index]:
            raise ValueError(
                f"{picture.name} has changed since the data was opened; bring it back, or start"
                " again with the data as it is"
            )
        return self.form.read(data, picture.name)


def each(function: Callable[[int], R], count: int) -> Iterator[R]:
    """function(0), function(1), ... on a few threads, in order, a bounded number at a time."""
    with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
        for start in range(0, count, 1024):
            yield from pool.map(function, range(start, min(start + 1024, count)))
