"""Grids: the times at which a sampler stands, float64 [steps + 1], from noise down to 0."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from inkdrop.config import choose
from inkdrop.diffusion.process import Discrete, Process

Grid = Callable[[Process, int], Tensor]


def _table(process: Process, grid: str) -> Discrete:
    if not isinstance(process, Discrete):
        raise ValueError(
            f"the {grid} grid counts entries of a discrete table and {type(process).__name__} has"
            " none; use uniform, karras or logsnr"
        )
    return process


def uniform(process: Process, steps: int) -> Tensor:
    """Even in t, from t_max to 0."""
    return torch.linspace(process.t_max, 0, steps + 1, dtype=torch.float64)


def leading(process: Process, steps: int) -> Tensor:
    """Every (T // steps)-th table entry from the data up: DDIM's own grid, starts below t_max."""
    table = _table(process, "leading")
    count = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
    entries = count * (table.steps // steps) + 1
    return _with_zero(entries / table.steps)


def trailing(process: Process, steps: int) -> Tensor:
    """Even table entries counted back from the last one (Lin et al. 2023, table 2)."""
    table = _table(process, "trailing")
    entries = (
        table.steps - torch.arange(steps, dtype=torch.float64) * (table.steps / steps)
    ).round()
    return _with_zero(entries / table.steps)


def karras(process: Process, steps: int, rho: float = 7.0) -> Tensor:
    """Even in (sigma / alpha)^(1/rho), from t_max to t_min, then 0. EDM eq. 5."""
    ends = torch.tensor([process.t_start, process.t_min], dtype=torch.float64)
    first, last = (-process.logsnr(ends) / (2 * rho)).exp()
    root = first + torch.linspace(0, 1, steps, dtype=torch.float64) * (last - first)
    return _between(process, -2 * rho * root.log())


def logsnr(process: Process, steps: int) -> Tensor:
    """Even in log-SNR, from t_max to t_min, then 0. DPM-Solver, section 3.4."""
    ends = torch.tensor([process.t_start, process.t_min], dtype=torch.float64)
    first, last = process.logsnr(ends)
    return _between(
        process, first + torch.linspace(0, 1, steps, dtype=torch.float64) * (last - first)
    )


def _between(process: Process, levels: Tensor) -> Tensor:
    """The times of the log-SNRs [steps], with the first at t_max exactly and a 0 at the end."""
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
    "karras": karras,
    "logsnr": logsnr,
}


def grid(process: Process, name: str, steps: int) -> Tensor:
    """The grid called `name`: float64 [steps + 1], falling from noise to 0."""
    process.check_steps(steps)
    return choose("grid", name, GRIDS)(process, steps)


def snap(process: Process, times: Tensor) -> Tensor:
    """The grid moved to whole entries of a discrete table, without duplicates: maybe shorter."""
    table = _table(process, "snapped")
    entries = (times.double() * table.steps).round()
    entries[:-1] = entries[:-1].clamp(min=1)
    snapped: Tensor = torch.unique(entries, sorted=True).flip(0) / table.steps
    return snapped
