"""Aspect-ratio buckets: sizes of about the same area, and the nearest one for each picture.

They allow training on pictures of several shapes with little cropping (NovelAI 2022; Podell et al.
2023, section 2.3). `open_buckets` opens them, and `order.bucket_turn` chooses one per update.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

Size = tuple[int, int]  # height, width

ASPECT = 2  # the widest bucket is at most 2:1, the tallest 1:2


@dataclass(frozen=True)
class Buckets:
    """Area size^2 in pixels, sides that are multiples of `multiple`, at least `least` pictures."""

    size: int = 64
    multiple: int = 8
    least: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "multiple", "least"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} of buckets is {getattr(self, name)}: it must be at least 1"
                )
        if self.size % self.multiple:
            low = self.size // self.multiple * self.multiple
            near = f"{low} and {low + self.multiple}" if low else str(self.multiple)
            raise ValueError(
                f"size is {self.size}, but sides must be multiples of {self.multiple}; the nearest"
                f" possible: {near}"
            )

    @property
    def shapes(self) -> tuple[Size, ...]:
        """The sizes, from tall to wide: as large as the area allows for each shorter side."""
        square = self.size // self.multiple
        short = range(1, square + 1)
        pairs = [(square**2 // side, side) for side in short if square**2 <= ASPECT * side**2]
        whole = [*pairs, *((b, a) for a, b in reversed(pairs[:-1]))]
        return tuple((height * self.multiple, width * self.multiple) for height, width in whole)


def assign(sizes: Sequence[Size], buckets: Buckets) -> dict[Size, list[int]]:
    """The indices of the pictures in each used bucket; sizes: every picture's (height, width).

    A picture goes to the nearest aspect ratio on a logarithmic scale. While any bucket has fewer
    than `least` pictures, the smallest is removed, and its pictures go to the next nearest.
    """
    aspects = np.array([math.log(width / height) for height, width in sizes])
    shapes = list(buckets.shapes)
    while True:
        centres = np.array([math.log(width / height) for height, width in shapes])
        of = np.abs(aspects[:, None] - centres).argmin(1)
        counts = np.bincount(of, minlength=len(shapes))
        if counts.min() >= buckets.least or len(shapes) == 1:
            return {shape: np.flatnonzero(of == i).tolist() for i, shape in enumerate(shapes)}
        del shapes[int(counts.argmin())]
