"""What became of every weight of a foreign file: used, unused and why, missing, of other shapes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from inkdrop.convert.files.stored import Weights
from inkdrop.weights import check_fit


@dataclass(frozen=True)
class PartReport:
    """Of one network: how many weights it took and their types, and what did not fit.

    missing: names of the file, with the shape they should have; unused, misshapen: with the shape
    they have; left: what is of no use, as it should be, and why
    """

    name: str
    used: int
    numbers: int
    dtypes: tuple[str, ...]
    missing: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    unused: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    misshapen: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    left: Mapping[str, str] = field(default_factory=dict)

    def notes(self) -> tuple[str, ...]:
        """What was done to its weights."""
        if len(self.dtypes) < 2:
            return ()
        return (f"{self.name}: weights of {' and '.join(self.dtypes)} were all made the widest",)

    def check(self, where: str) -> None:
        """ValueError in one line unless every weight found its place."""
        check_fit(f"{where}, {self.name}:", self.missing, self.unused, self.misshapen)


@dataclass(frozen=True)
class Report:
    """Of a whole checkpoint.

    unused: parts and weights that were left out, and why; text: parts for text encoders, which are
    built elsewhere; notes: what had to be assumed
    """

    parts: tuple[PartReport, ...]
    unused: Mapping[str, str] = field(default_factory=dict)
    text: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """The report as it is printed."""
        return [
            *(
                f"{p.name}: {p.used} weights, {p.numbers / 1e6:.1f} million numbers,"
                f" {' and '.join(p.dtypes)}"
                for p in self.parts
            ),
            *(
                f"{p.name}, {what}: unused, {why}"
                for p in self.parts
                for what, why in p.left.items()
            ),
            *(f"{name}: for the text" for name in self.text),
            *(f"{name}: unused, {why}" for name, why in self.unused.items()),
            *self.notes,
        ]


def shapes_of(weights: Weights, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """The shapes of some weights."""
    return {name: weights[name].shape for name in names}
