"""Grids fall from noise to data, hit what they promise, and refuse what makes no sense."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
import torch
from exact import PROCESSES, f64

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.names import GRID_ALIASES
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.diffusion.times import GRIDS, NUMBERS, grid, resolution_shift, snap

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
COUNTED = ("leading", "trailing")


@ALL
@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("steps", [1, 2, 3, 7, 50, 333, 999, 1000])
def test_a_grid_falls_from_noise_to_data(process: Process, name: str, steps: int) -> None:
    if name in COUNTED and not isinstance(process, Discrete):
        with pytest.raises(ValueError, match=r"consists of entries of a discrete table"):
            grid(process, name, steps)
        return
    if name in ("beta", "shift") and process.t_max != 1:
        with pytest.raises(ValueError, match=r"needs times from 0 to 1"):
            grid(process, name, steps)
        return
    times = grid(process, name, steps)
    assert times.dtype == torch.float64
    assert times.shape == (steps + 1,)
    assert (times.diff() < 0).all()
    assert times[-1] == 0
    if name == "leading":
        assert isinstance(process, Discrete)
        first = (steps - 1) * (process.steps // steps) + 1
        assert times[0].item() == pytest.approx(first / process.steps, rel=1e-15)
    else:
        assert times[0] == process.t_max


@ALL
@pytest.mark.parametrize("name", ["karras", "logsnr"])
def test_grids_in_noise_level_end_at_t_min(process: Process, name: str) -> None:
    times = grid(process, name, 40)
    assert times[-2].item() == pytest.approx(process.t_min, rel=1e-9)


@ALL
def test_the_logsnr_grid_is_even_in_logsnr(process: Process) -> None:
    level = process.logsnr(grid(process, "logsnr", 40)[1:-1])
    gap = level.diff()
    torch.testing.assert_close(gap, gap.mean().expand(38), rtol=1e-8, atol=1e-8)


def test_the_karras_grid_is_equation_5_of_edm() -> None:
    n, rho = 18, 7
    low, high = 0.002 ** (1 / rho), 80 ** (1 / rho)
    expected = [(high + i / (n - 1) * (low - high)) ** rho for i in range(n)]
    times = grid(VE(), "karras", n)
    torch.testing.assert_close(times, f64(*expected, 0), rtol=1e-12, atol=0)


def test_the_uniform_grid_is_even_in_time() -> None:
    torch.testing.assert_close(grid(VE(), "uniform", 4), f64(80, 60, 40, 20, 0))
    entries = grid(Discrete(), "uniform", 1000) * 1000
    torch.testing.assert_close(entries, torch.arange(1000, -1, -1).double(), rtol=0, atol=1e-9)


@pytest.mark.parametrize("name", COUNTED)
def test_counted_grids_stand_on_entries(name: str) -> None:
    process = Discrete("linear")
    for steps in (1, 7, 50, 300, 1000):
        entries = grid(process, name, steps) * 1000
        assert (entries - entries.round()).abs().max() < 1e-9
        assert torch.equal(snap(process, grid(process, name, steps)), entries.round() / 1000)


def test_a_small_table_has_its_own_counts() -> None:
    process = Discrete("linear", steps=10)
    assert (grid(process, "leading", 3) * 10).round().tolist() == [7, 4, 1, 0]
    assert (grid(process, "trailing", 4) * 10).round().tolist() == [10, 8, 5, 2, 0]


@pytest.mark.parametrize(("steps", "duplicates"), [(50, 1), (200, 23)])
def test_snapping_removes_duplicates(steps: int, duplicates: int) -> None:
    process = Discrete("linear")
    times = snap(process, grid(process, "logsnr", steps))
    assert len(times) == steps + 1 - duplicates
    assert (times.diff() < 0).all()
    assert times[0] == 1
    assert times[-1] == 0
    assert ((times * 1000) - (times * 1000).round()).abs().max() < 1e-9


def test_snapping_keeps_a_network_time_above_data() -> None:
    assert snap(Discrete(), f64(1, 0.5004, 0.0002, 0)).tolist() == [1, 0.5, 0.001, 0]
    assert snap(Discrete(), f64(0.5, 0.001)).tolist() == [0.5, 0.001]


@ALL
@pytest.mark.parametrize("steps", [0, -1])
def test_no_steps_is_an_error(process: Process, steps: int) -> None:
    with pytest.raises(ValueError, match=rf"steps is {steps}: a grid needs at least 1"):
        grid(process, "uniform", steps)


@pytest.mark.parametrize("name", GRIDS)
def test_more_steps_than_a_table_has_is_an_error(name: str) -> None:
    with pytest.raises(ValueError, match=r"steps is 1001: this model's table has 1000"):
        grid(Discrete(), name, 1001)


def test_an_unknown_grid_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"no grid 'trialing'.*Did you mean 'trailing'"):
        grid(Discrete(), "trialing", 10)


@pytest.mark.parametrize("name", ["vp", "ve", "flow"])
def test_a_continuous_process_cannot_be_snapped(name: str) -> None:
    with pytest.raises(ValueError, match=r"use uniform, karras or logsnr"):
        snap(PROCESSES[name], f64(1, 0))


def test_the_beta_grid_holds_the_quantiles_of_its_distribution() -> None:
    for shape in (0.6, 1.0, 2.5):
        times = (grid(VP(), f"beta:{shape}", 20) - VP().t_min) / (1 - VP().t_min)
        expected = scipy.stats.beta.ppf(1 - torch.arange(20).double() / 20, shape, shape)
        torch.testing.assert_close(times[:-1], torch.as_tensor(expected), rtol=0, atol=1e-6)


@ALL
def test_the_share_grid_is_one_in_all_processes(process: Process) -> None:
    # rectified flow's own clock is the noise's share; the others begin where their noise ends
    u = f64(*scipy.stats.beta.ppf(1 - np.arange(20) / 20, 0.65, 0.65))
    times = torch.cat([grid(process, "share", 20)[:-1], f64(process.t_min)])
    found = 1 / (1 + (process.logsnr(times) / 2).exp())
    first, last = found[0], found[-1]
    torch.testing.assert_close(found[:-1], last + (first - last) * u, rtol=0, atol=2e-6)


@ALL
@pytest.mark.parametrize("name", sorted({"share", "beta", "karras", "logsnr", "linspace"}))
def test_no_network_is_asked_below_the_least_time_that_it_was_trained_on(
    process: Process, name: str
) -> None:
    if name == "beta" and process.t_max != 1:
        return
    for steps in (10, 200):
        assert grid(process, name, steps)[-2] >= process.t_min * (1 - 1e-9)


def test_the_linspace_grid_stands_on_the_entries_that_others_take() -> None:
    for steps in (2, 7, 20, 999):
        entries = np.linspace(0, 999, steps).round()[::-1].copy() + 1
        times = grid(Discrete("linear"), "linspace", steps)
        torch.testing.assert_close(times[:-1] * 1000, torch.as_tensor(entries))


def test_the_shift_grid_is_the_same_noise_at_more_pixels() -> None:
    # Esser et al. 2024: a constant picture of n pixels is known to within sigma / alpha / sqrt(n).
    base, times = grid(Flow(), "uniform", 10)[1:-1], grid(Flow(), "shift:2", 10)[1:-1]
    assert resolution_shift(4 * 64**2, 64**2) == 2
    known, now = base / (1 - base) / 64, times / (1 - times) / 128
    torch.testing.assert_close(now, known)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("karras:x", "number of the karras grid is 'x'"),
        ("shift:-1", "number of the shift grid is '-1'"),
        ("beta:inf", "number of the beta grid is 'inf'"),
        ("beta:0.4", "number of the beta grid is '0.4'; give one from 0.5"),
        ("uniform:2", "the uniform grid takes no number"),
        ("karas:7", "Did you mean 'karras'"),
    ],
)
def test_a_grid_with_a_wrong_number_or_name(name: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        grid(VP(), name, 5)


@pytest.mark.parametrize(("other", "name"), GRID_ALIASES.items())
def test_names_from_other_programs(other: str, name: str) -> None:
    process = Discrete("linear")
    assert torch.equal(grid(process, other, 9), grid(process, name, 9))
    torch.testing.assert_close(grid(process, "karras:7", 9), grid(process, "karras", 9))


@pytest.mark.parametrize("name", NUMBERS)
def test_a_grid_falls_with_every_number_that_it_takes(name: str) -> None:
    low, high = NUMBERS[name]
    for number in (low, (low * high) ** 0.5, high):
        for steps in (1, 3, 100):
            times = grid(Discrete("linear"), f"{name}:{number}", steps)
            assert bool((times[1:] < times[:-1]).all())
    for number in (low * 0.99, high * 1.01, "nan", "inf", "1e300", "-1", ""):
        with pytest.raises(ValueError, match=f"number of the {name} grid is .* give one from"):
            grid(Discrete("linear"), f"{name}:{number}", 4)
