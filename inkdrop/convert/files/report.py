"""Reports of the weights in a foreign file: used, unused and why, missing, or misshapen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from inkdrop.convert.files.stored import Weights
from inkdrop.weights import check_fit


@dataclass(frozen=True)
class PartReport:
    """The weights of one network: how many were used, their types, and which did not fit.

    missing: names in the file, with the shapes they should have; unused, misshapen: with the shapes
    they have; left: what is rightly left out, and why
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
        """What was done to the weights."""
        if len(self.dtypes) < 2:
            return ()
        return (f"{self.name}: weights of {' and '.join(self.dtypes)} were all made the widest",)

    def check(self, where: str) -> None:
        """ValueError in one line unless every weight fits."""
        check_fit(f"{where}, {self.name}:", self.missing, self.unused, self.misshapen)


@dataclass(frozen=True)
class Report:
    """The report of a whole checkpoint.

    unused: parts and weights that were left out, and why
    text: parts for text encoders, which are built separately
    notes: what had to be assumed
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
