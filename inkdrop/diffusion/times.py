"""Grids: the times a sampler visits, float64 [steps + 1], decreasing from noise to 0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inkdrop.config import choose
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.names import grid_called
from inkdrop.diffusion.process import Process

# (process, steps) -> times, float64 [steps + 1]
Grid = Callable[[Process, int], Tensor]


def _table(process: Process, grid: str) -> Discrete:
    if not isinstance(process, Discrete):
        raise ValueError(
            f"the {grid} grid consists of entries of a discrete table, but"
            f" {type(process).__name__} is continuous; use uniform, karras or logsnr"
        )
    return process


def _unit_clock(process: Process, grid: str) -> None:
    if process.t_max != 1:
        raise ValueError(
            f"the {grid} grid needs times from 0 to 1, but those of {type(process).__name__} run"
            f" to {process.t_max:g}; use karras or logsnr"
        )


def uniform(process: Process, steps: int) -> Tensor:
    """Evenly spaced in t, from t_max to 0."""
    return torch.linspace(process.t_max, 0, steps + 1, dtype=torch.float64)


def leading(process: Process, steps: int) -> Tensor:
    """Every (T // steps)-th table entry, counted from the data: DDIM's grid, starts below t_max."""
    table = _table(process, "leading")
    count = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    entries = count * (table.steps // steps) + 1
    return _with_zero(entries / table.steps)


def trailing(process: Process, steps: int) -> Tensor:
    """Evenly spaced table entries, counted back from the last one (Lin et al. 2023, table 2)."""
    table = _table(process, "trailing")
    entries = (
        table.steps - torch.arange(steps, dtype=torch.float64) * (table.steps / steps)
    ).round()
    return _with_zero(entries / table.steps)


def karras(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """Evenly spaced in (sigma / alpha)^(1/rho), from t_max to t_min, then 0. EDM eq. 5."""
    ends = torch.tensor([process.t_start, process.t_min], dtype=torch.float64)
    first, last = (-process.logsnr(ends) / (2 * rho)).exp()
    root = first + torch.linspace(0, 1, steps, dtype=torch.float64) * (last - first)
    return _between(process, -2 * rho * root.log())


def logsnr(process: Process, steps: int) -> Tensor:
    """Evenly spaced in log-SNR, from t_max to t_min, then 0. DPM-Solver, section 3.4."""
    ends = torch.tensor([process.t_start, process.t_min], dtype=torch.float64)
    first, last = process.logsnr(ends)
    return _between(
        process, first + torch.linspace(0, 1, steps, dtype=torch.float64) * (last - first)
    )


def linspace(process: Process, steps: int) -> Tensor:
    """Evenly spaced in t from t_max to t_min inclusive, then 0; snapped to a table's entries."""
    share = torch.arange(steps, dtype=torch.float64) / max(steps - 1, 1)
    if isinstance(process, Discrete):
        entries = ((process.steps - 1) * (1 - share)).round() + 1
        return _with_zero(entries / process.steps)
    return _with_zero(process.t_max + (process.t_min - process.t_max) * share)


def beta(process: Process, steps: int, shape: float = 0.6) -> Tensor:
    """Quantiles of Beta(shape, shape) from t_min to t_max, dense at both ends. Lee et al. 2024.

    ValueError unless the process has t_max = 1.
    """
    _unit_clock(process, "beta")
    place = _quantiles("beta", steps, shape)
    return _with_zero(process.t_min + (process.t_max - process.t_min) * place)


def share(process: Process, steps: int, shape: float = 0.65) -> Tensor:
    """Quantiles of Beta(shape, shape) in the noise's share u = sigma / (sigma + alpha) of x_t.

    u is the time of rectified flow; it runs from its value at t_min to its value at t_max. As a
    function of sigma / alpha, x / alpha follows the same ODE in all processes, so a grid that is
    good in u is good for all of them.
    """
    ends = torch.tensor([process.t_min, process.t_max], dtype=torch.float64)
    low, high = (-process.logsnr(ends) / 2).sigmoid()
    u = low + (high - low) * _quantiles("share", steps, shape)
    return _between(process, 2 * ((1 - u).log() - u.log()))


def _quantiles(grid: str, steps: int, shape: float) -> Tensor:
    """The quantiles [steps] of Beta(shape, shape) at 1, 1 - 1 / steps, ... 1 / steps."""
    if shape < 0.5:
        raise ValueError(
            f"the shape of the {grid} grid is {shape:g}, which puts nearly all steps at the ends;"
            " give at least 0.5 (0.5 to 1 is usual)"
        )
    # The substitution u = sin^2(angle) removes the poles of the density u^(a-1) (1-u)^(a-1) at 0
    # and 1, so the trapezoidal rule converges.
    angle = torch.linspace(0, torch.pi / 2, 40_001, dtype=torch.float64)
    density = (angle.sin() * angle.cos()).clamp(min=0) ** (2 * shape - 1)
    below = torch.cat([density.new_zeros(1), torch.cumulative_trapezoid(density)])
    wanted = torch.arange(steps, 0, -1, dtype=torch.float64) / steps * below[-1]
    place = torch.searchsorted(below, wanted).clamp(1, len(below) - 1)
    part = (wanted - below[place - 1]) / (below[place] - below[place - 1])
    return torch.lerp(angle[place - 1], angle[place], part).sin() ** 2


def shifted(process: Process, steps: int, shift: float = 3.0) -> Tensor:
    """t' = s t / (1 + (s - 1) t) of evenly spaced t: more steps at high noise. SD3, eq. 23.

    Esser et al. 2024 found s = 3 best at 1024 x 1024; `resolution_shift` converts it to other
    sizes. ValueError unless the process has t_max = 1.
    """
    _unit_clock(process, "shift")
    t = uniform(process, steps)
    return shift * t / (1 + (shift - 1) * t)


def resolution_shift(pixels: int, trained: int) -> float:
    """The shift for pictures of `pixels` pixels if `trained` pixels need none: sqrt(ratio)."""
    return float((pixels / trained) ** 0.5)


def _between(process: Process, levels: Tensor) -> Tensor:
    """The times [steps + 1] of log-SNRs [steps], with exactly t_max first and a 0 appended."""
    times = process.time_at(levels)
    times[0] = process.t_max
    return _with_zero(times)


def _with_zero(times: Tensor) -> Tensor:
    times = times.double()
    return torch.cat([times, times.new_zeros(1)])


GRIDS: dict[str, Grid] = {
    "uniform": uniform,
    "leading": leading,
    "trailing": trailing,
    "linspace": linspace,
    "karras": karras,
    "logsnr": logsnr,
    "beta": beta,
    "share": share,
    "shift": shifted,
}

# The grids that take a number, as in "karras:5".
TUNABLE: dict[str, Callable[[Process, int, float], Tensor]] = {
    "karras": karras,
    "beta": beta,
    "share": share,
    "shift": shifted,
}

# The least and the largest number that each of them takes; beyond, times would coincide.
NUMBERS = {
    "karras": (0.5, 100.0),
    "beta": (0.5, 50.0),
    "share": (0.5, 50.0),
    "shift": (0.01, 100.0),
}


def grid(process: Process, name: str, steps: int) -> Tensor:
    """The grid called `name`: float64 [steps + 1], decreasing from noise to 0.

    "karras:5" sets rho, "beta:0.7" and "share:0.8" the shape, "shift:3" the shift; other programs'
    names are in `names.py`. ValueError for an unknown grid, one the process does not support, or an
    impossible number.
    """
    process.check_steps(steps)
    name, value = check_grid(grid_called(name) or name)
    return GRIDS[name](process, steps) if value is None else TUNABLE[name](process, steps, value)


def check_grid(text: str) -> tuple[str, float | None]:
    """The name of a grid and its number, if it has one; ValueError for one that there is not."""
    name, colon, number = text.partition(":")
    choose("grid", name, GRIDS)
    if not colon:
        return name, None
    if name not in TUNABLE:
        raise ValueError(
            f"the {name} grid takes no number ({number!r}); only {', '.join(TUNABLE)} do"
        )
    (low, high), value = NUMBERS[name], _number(number)
    if value is None or not low <= value <= high:
        raise ValueError(
            f"the number of the {name} grid is {number!r}; give one from {low:g} to {high:g}"
        )
    return name, value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def snap(process: Process, times: Tensor) -> Tensor:
    """The grid rounded to entries of a discrete table; without duplicates, so possibly shorter."""
    table = _table(process, "snapped")
    entries = (times.double() * table.steps).round()
    entries[:-1] = entries[:-1].clamp(min=1)
    snapped: Tensor = torch.unique(entries, sorted=True).flip(0) / table.steps
    return snapped
