"""The report: each number is its module's, few samples are said so, and JSON brings it back."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor

from inkdrop.config import parse
from inkdrop.evaluate import report as r
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.evaluate.kernel import subset_kernel_distance
from inkdrop.evaluate.precision import density_coverage, precision_recall
from inkdrop.evaluate.report import Measure, Report, measure


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, 4, generator=torch.Generator().manual_seed(seed))


def test_every_measure_is_its_modules_own() -> None:
    real, samples = rows(120, 0), 1.2 * rows(90, 1)
    found = measure(real, samples, network="a judge", seed=3)
    values = {m.name: m.value for m in found.measures}
    balls, cover = precision_recall(real, samples), density_coverage(real, samples)
    kernel = subset_kernel_distance(real, samples, size=90, seed=3)
    assert values == {
        "Frechet distance": frechet_distance(fit(real), fit(samples)),
        "kernel distance": kernel.mean,
        "precision": balls.precision,
        "recall": balls.recall,
        "density": cover.density,
        "coverage": cover.coverage,
    }
    assert found.measures[1].error == kernel.error
    assert (found.real, found.samples, found.network) == (120, 90, "a judge")


def test_few_samples_are_said_so() -> None:
    said = " ".join(measure(rows(120, 0), rows(40, 1), network="a judge").notes)
    for words in ("40 pictures is biased upwards", "have 40 of 40", "use at least 50"):
        assert words in said


@pytest.mark.parametrize(
    ("count", "dim", "said"),
    [
        (2047, 64, "at least 2,048"),
        (2048, 64, "only at equal numbers of pictures"),
        (2048, 2048, "at least 2,049"),
        (9999, 2048, "only at equal numbers of pictures"),
    ],
)
def test_frechet_notes(count: int, dim: int, said: str) -> None:
    (note,) = r.frechet_notes(count, dim)
    assert said in note and f"{count:,}" in note


def test_with_enough_samples_nothing_is_said() -> None:
    assert not r.frechet_notes(10_000, 2048)
    assert not r.neighbour_notes(10_000, 5)
    assert not r.kernel_notes(2000, 1000) and r.kernel_notes(1999, 1000)
    assert "equal numbers" in r.neighbour_notes(50, 5)[0]
    assert "at least 50" in r.neighbour_notes(49, 5)[0]


EXAMPLE = Report(
    network="judge",
    real=60_000,
    samples=5000,
    measures=(
        Measure("Frechet distance", 12.34567, better="lower"),
        Measure("kernel distance", 0.00123456, 0.000045, "lower"),
        Measure("seconds", 3.0),
    ),
    notes=("It was a small judge.",),
)


def test_it_prints_as_a_table() -> None:
    assert str(EXAMPLE).splitlines() == [
        "5,000 samples against 60,000 real pictures, by judge",
        "",
        "Frechet distance  12.35                lower is better",
        "kernel distance   0.001235  ± 4.5e-05  lower is better",
        "seconds           3",
        "",
        "It was a small judge.",
    ]


def test_json_brings_it_back(tmp_path: Path) -> None:
    path = tmp_path / "new" / "report.json"
    EXAMPLE.write(path)
    assert parse(Report, json.loads(path.read_text()), "report.json") == EXAMPLE


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_numbers_that_json_cannot_hold_are_refused(value: float) -> None:
    with pytest.raises(ValueError, match=r"PSNR is .*leave it out"):
        Measure("PSNR", value)
    with pytest.raises(ValueError, match="leave it out"):
        Measure("kernel distance", 1.0, value)
