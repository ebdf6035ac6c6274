"""Every section drawn for series: what stands in the figures is the curves themselves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes
from numpy.typing import NDArray
from subjects import data, model, series, waves
from torch import Tensor

from inkdrop.explain.compared import compared_figure
from inkdrop.explain.derivation import derivation_section
from inkdrop.explain.errors import SHOWN, errors_section
from inkdrop.explain.forward import COLUMNS, dissolved, forward_film, forward_section, moments
from inkdrop.explain.report import explain
from inkdrop.explain.reverse import compare, reverse_section, solvers_figure, solvers_section
from inkdrop.explain.schedules import schedules_section
from inkdrop.explain.section import Section
from inkdrop.explain.subject import Subject
from inkdrop.explain.targets import Plan, network, small, targets_figure, targets_section, teach_all
from inkdrop.tune.compare import Row
from inkdrop.tune.compare import compare as compare_samplers
from inkdrop.tune.problem import Problem

TINY = Plan(updates=2, batch=4, width=8, samples=16, steps=2)
SHORT = {"kind": "discrete", "steps": 12}


def curves(axes: Axes, channels: int = 1) -> NDArray[Any]:
    """The values of all curves of an axes [curves, C, L]; zero lines have two values."""
    lines = [np.asarray(line.get_ydata()) for line in axes.lines]
    found = np.stack([values for values in lines if len(values) > 2])
    return found.reshape(-1, channels, found.shape[-1])


def panel(section: Section, number: int = 0) -> Axes:
    assert section.figure is not None
    axes = section.figure.axes[number]
    assert not axes.images
    return axes


def test_the_forward_process_draws_the_noisy_values_themselves(tmp_path: Path) -> None:
    it = series(tmp_path, channels=2)
    section = forward_section(it)
    x0, on = it.real(3), moments(it.model.process, COLUMNS)
    expected = torch.cat(dissolved(it, x0, on))
    drawn = curves(panel(section), 2)
    assert np.array_equal(drawn, expected.float().numpy())
    assert np.array_equal(drawn[0], x0[0].numpy())
    assert "The shaded band" in section.words
    assert "A series is mixed with Gaussian noise" in section.words


def test_the_film_has_as_many_frames_as_that_of_pictures(tmp_path: Path) -> None:
    pictures = data(tmp_path)
    film = forward_film(series(tmp_path))
    assert len(film) == len(forward_film(Subject(model(pictures), pictures)))
    assert len({frame.size for frame in film}) == 1
    assert film[0].tobytes() != film[-1].tobytes()


def test_schedules_begin_with_the_data_and_end_in_noise(tmp_path: Path) -> None:
    it = series(tmp_path)
    section = schedules_section(it)
    drawn = curves(panel(section, 2))
    rows = drawn.reshape(-1, 10, drawn.shape[-1])
    x0 = it.real(1)[0].numpy()
    assert np.abs(rows[:, 0] - x0).max() < 0.2
    assert np.abs(rows[:, -1] - it.noise([0]).initial()[0].numpy()).max() < 0.2
    assert panel(section).get_title("left") == "what is left of the series"


def test_the_three_networks_are_over_one_axis_and_keep_all_channels(tmp_path: Path) -> None:
    it = series(tmp_path, channels=4)
    net = network((4, 24), TINY)
    assert net.config.dims == 1
    assert net(torch.zeros(2, 4, 24), torch.zeros(2), it.model.null(2)).shape == (2, 4, 24)
    results, held = teach_all(it, TINY)
    assert held.shape[1:] == (4, 24)
    figure = targets_figure(it, results, held)
    drawn = curves(figure.axes[2], 4)
    expected = torch.cat([*(one.samples for one in results.values()), held[:10]])
    assert np.array_equal(drawn, expected.numpy())


def test_long_series_shrink_by_means(tmp_path: Path) -> None:
    x = torch.rand(2, 3, 256)
    assert torch.allclose(small(x), x.reshape(2, 3, 64, 4).mean(-1), atol=1e-6)
    assert torch.equal(small(x[..., :50]), x[..., :50])
    section = targets_section(series(tmp_path, length=100), TINY)
    assert "small versions of your series (64 values)" in section.words


def test_the_loss_shows_the_truth_in_its_last_row(tmp_path: Path) -> None:
    it = series(tmp_path, count=5)
    section = errors_section(it)
    drawn = curves(panel(section, 1))
    assert len(drawn) == 3 * SHOWN
    assert np.array_equal(drawn[-SHOWN:], it.real(1).expand(SHOWN, -1, -1).numpy())
    assert "on 5 of your series" in section.words
    spread = it.real(5).var(0, correction=0).mean()
    dashed = panel(section).lines[2].get_ydata()
    assert np.asarray(dashed) == pytest.approx([float(spread)] * 2, rel=1e-5)


def test_the_way_back_ends_in_the_sample(tmp_path: Path) -> None:
    it = series(tmp_path, labels=True)
    drawn = curves(panel(reverse_section(it)))
    run = it.sample("ddim", 12, 2)
    assert len(drawn) == 2 * (13 + 12)
    assert np.array_equal(drawn[[12, 37]], run.steps[-1].x.numpy())


def test_both_samplers_are_drawn_by_their_last_states(tmp_path: Path) -> None:
    it = series(tmp_path, SHORT)
    found = compare(it)
    ends = [pair[name].steps[-1].x for pair in found.runs.values() for name in ("ddpm", "ddim")]
    drawn = curves(solvers_figure(it, found).axes[0])
    assert np.array_equal(drawn, torch.cat(ends).numpy())
    assert "the same series whatever" in solvers_section(it).words


def test_the_kl_of_a_step_holds_for_series_too(tmp_path: Path) -> None:
    section = derivation_section(series(tmp_path, SHORT))
    assert "Means over your series" in section.after


def test_compared_samplers_leave_a_place_empty_where_there_was_no_run(tmp_path: Path) -> None:
    it = series(tmp_path, {"kind": "flow"})
    problem, *rows = compare_samplers(it.model, steps=(2, 3), samplers=("ddim", "heun"), count=2)
    assert isinstance(problem, Problem)
    runs = [row for row in rows if isinstance(row, Row)]
    figure = compared_figure(it.model, problem, runs[:-1])
    ends: list[Tensor] = [runs[0].x, runs[1].x, problem.answer, runs[2].x, problem.answer]
    expected = torch.stack([x[0] for x in ends]).float().numpy()
    assert np.array_equal(curves(figure.axes[1]), expected)


def test_the_report_of_series_speaks_of_series_alone(tmp_path: Path) -> None:
    found = waves(tmp_path, channels=2, labels=True)
    done = list(explain(model(found, SHORT), found, tmp_path / "out", quick=True, plan=TINY))
    assert len(done) == 9
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    words = re.sub(r"<style>.*?</style>|data:image[^\"]*", "", text, flags=re.DOTALL)
    assert not re.search(r"picture|pixel|\bimage\b", words.lower())
    assert "<dt>Series</dt>" in words
    assert "24 values in 2 channels</dd>" in words


def test_data_of_another_medium_is_refused(tmp_path: Path) -> None:
    pictures, found = data(tmp_path), waves(tmp_path)
    with pytest.raises(ValueError, match=r"makes series, and pictures1.npz holds pictures; give"):
        Subject(model(found), pictures)
