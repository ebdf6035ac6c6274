"""The networks of a checkpoint by their headers: names, counts, bytes and types."""

from __future__ import annotations

from math import prod
from typing import NamedTuple

from inkdrop.convert.files.stored import Weights, types_of
from inkdrop.printable import size


class Part(NamedTuple):
    """A network: how many numbers it holds, how many bytes they take in a file, and their types."""

    name: str
    numbers: int
    bytes: int
    dtypes: tuple[str, ...]

    def line(self) -> str:
        """The part as `inkdrop info` prints it."""
        types = f", {' and '.join(self.dtypes)}" if self.dtypes else ""
        return f"{self.name}: {self.numbers / 1e6:.1f} million numbers{types}, {size(self.bytes)}"


def part(name: str, weights: Weights) -> Part:
    """A part from the headers of its files."""
    values = weights.values()
    return Part(
        name,
        sum(prod(value.shape) for value in values),
        sum(prod(value.shape) * value.dtype.itemsize for value in values),
        types_of(values),
    )
