"""Buckets: sizes of about one area, and which of them each picture is nearest to.

So pictures of several shapes can be trained on with little cropped away (NovelAI 2022; Podell et
al. 2023, section 2.3). `open_buckets` opens them, `order.bucket_turn` says whose turn it is.
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
    """The rule: area size^2 in pixels, sides that are multiples, at least so many pictures each."""

    size: int = 64
    multiple: int = 8
    least: int = 1

    def __post_init__(self) -> None:
        for name in ("size", "multiple", "least"):
            if getattr(self, name) < 1:
                raise ValueError(
                    f"{name} of buckets is {getattr(self, name)}; at least 1 is needed"
                )
        if self.size % self.multiple:
            low = self.size // self.multiple * self.multiple
            near = f"{low} and {low + self.multiple}" if low else str(self.multiple)
            raise ValueError(
                f"size is {self.size}, but sides are multiples of {self.multiple}; the nearest"
                f" that can be made: {near}"
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
    """Each bucket in use with the numbers of its pictures, given every picture's (height, width).

    A picture goes to the nearest aspect, by its logarithm. As long as a bucket has fewer than
    `least`, the emptiest is given up, so its pictures go to their next nearest.
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
