"""The results of an evaluation as a table and as JSON, with notes on too few samples."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from torch import Tensor

from inkdrop.config import dump
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.evaluate.kernel import subset_kernel_distance
from inkdrop.evaluate.matrix import matrices
from inkdrop.evaluate.precision import density_coverage, precision_recall
from inkdrop.files import replacing

# With fewer than the first, the covariance of Inception's 2048 features is rank-deficient; the
# second is the minimum that the authors of the Frechet distance recommend.
FEW, ENOUGH = 2048, 10_000
SUBSET = 1000


@dataclass(frozen=True)
class Measure:
    """One number, its standard error if there is one, and the better direction if there is one.

    ValueError if it is not finite.
    """

    name: str
    value: float
    error: float | None = None
    better: Literal["lower", "higher"] | None = None

    def __post_init__(self) -> None:
        if not math.isfinite(self.value) or not math.isfinite(self.error or 0.0):
            raise ValueError(
                f"{self.name} is {self.value} with error {self.error}, which JSON cannot represent;"
                " leave it out and give the reason in the notes"
            )


@dataclass(frozen=True)
class Report:
    """Measures of `samples` pictures against `real` ones; printed as a table.

    network: name of the feature network; notes: sentences on how far to trust the numbers.
    `config.dump` and `config.parse` convert it to JSON and back.
    """

    network: str
    real: int
    samples: int
    measures: tuple[Measure, ...]
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        title = f"{self.samples:,} samples against {self.real:,} real pictures, by {self.network}"
        rows = [_cells(measure) for measure in self.measures]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]
        return "\n".join([title, "", *lines, *([""] if self.notes else []), *self.notes])

    def write(self, path: str | Path) -> None:
        """Write the report as a JSON file, atomically."""
        with replacing(path) as part:
            part.write_text(json.dumps(dump(self), indent=2) + "\n", encoding="utf-8")


def measure(real: Tensor, samples: Tensor, *, network: str, seed: int = 0) -> Report:
    """All distances between two sets of features [N, D] and [M, D] of one network.

    network: its name; seed: of the kernel distance's subsets, which have at most 1000 rows. The
    numbers of neighbours are those of the papers. ValueError for different dimensions, or fewer
    than 6 rows.
    """
    real, samples = matrices(real, samples, least=6)
    size = min(SUBSET, len(real), len(samples))
    kernel = subset_kernel_distance(real, samples, size=size, seed=seed)
    balls = precision_recall(real, samples)
    cover = density_coverage(real, samples)
    distance = frechet_distance(fit(real), fit(samples))
    measures = (
        Measure("Frechet distance", distance, better="lower"),
        Measure("kernel distance", kernel.mean, kernel.error, better="lower"),
        Measure("precision", balls.precision, better="higher"),
        Measure("recall", balls.recall, better="higher"),
        Measure("density", cover.density, better="higher"),
        Measure("coverage", cover.coverage, better="higher"),
    )
    dim, fewest = real.shape[1], min(len(real), len(samples))
    few = frechet_notes(fewest, dim), kernel_notes(fewest, size), neighbour_notes(fewest, cover.k)
    notes = tuple(note for group in few for note in group)
    return Report(network, len(real), len(samples), measures, notes)


def frechet_notes(count: int, dim: int) -> tuple[str, ...]:
    """Notes on a Frechet distance with `count` rows of `dim` features in the smaller set."""
    if count < max(FEW, dim + 1):
        return (
            f"The Frechet distance of {count:,} pictures is biased upwards by an amount that"
            f" differs between models: use at least {max(FEW, dim + 1):,}.",
        )
    if count < ENOUGH:
        return (
            f"Compare the Frechet distance of {count:,} pictures only at equal numbers of"
            f" pictures: below {ENOUGH:,} it clearly decreases with the number.",
        )
    return ()


def kernel_notes(count: int, size: int) -> tuple[str, ...]:
    """Notes on a kernel distance over subsets of `size` out of `count` pictures."""
    if count < 2 * size:
        return (
            f"The kernel distance's subsets have {size:,} of {count:,} pictures and share most of"
            " them, so its standard error is too small.",
        )
    return ()


def neighbour_notes(count: int, k: int) -> tuple[str, ...]:
    """Notes on precision, recall, density and coverage with k neighbours."""
    if count < 10 * k:
        return (
            f"With {count:,} pictures a ball to neighbour {k} contains over a tenth of them, so"
            f" precision, recall, density and coverage mean little: use at least {10 * k:,}.",
        )
    if count < ENOUGH:
        return (
            "Compare precision, recall, density and coverage only at equal numbers of pictures:"
            f" with {count:,} they still depend on the number.",
        )
    return ()


def _cells(measure: Measure) -> tuple[str, str, str, str]:
    error = "" if measure.error is None else f"± {measure.error:.2g}"
    better = f"{measure.better} is better" if measure.better else ""
    return measure.name, f"{measure.value:.4g}", error, better
