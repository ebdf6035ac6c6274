"""What every sampler yields, and the check that no step is ever silently broken."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process


@dataclass(frozen=True)
class Step:
    """The state after one step of a run.

    index: 0 for the first; total: how many there will be, None if not known; t: the time reached;
    x: the state at t, the last of which is the sample; x0: the prediction that the step used.
    """

    index: int
    total: int | None
    t: float
    x: Tensor
    x0: Tensor


class Sampler(Protocol):
    """The shape of every fixed-grid sampler."""

    def __call__(
        self,
        process: Process,
        denoise: Denoiser,
        x: Tensor,
        times: Tensor,
        *,
        eta: float = 0.0,
        noise: Noise | None = None,
    ) -> Iterator[Step]: ...


@lru_cache(maxsize=64)
def _coefficients(
    process: Process, times: tuple[float, ...], eta: float
) -> tuple[tuple[float, float, float], ...]:
    """(c_x, c_x0, c_noise) of each interval; a pure function, so runs on one grid share it."""
    grid = torch.tensor(times, dtype=torch.float64)
    columns = process.coefficients(grid[:-1], grid[1:], eta)
    return tuple(zip(*(column.tolist() for column in columns), strict=True))


@lru_cache(maxsize=64)
def log_snrs(process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
    """The log-SNR at each time of a grid; infinite where sigma or alpha is 0."""
    return tuple(process.logsnr(torch.tensor(times, dtype=torch.float64)).tolist())


class Walk:
    """A grid made ready for a loop: times as numbers, as [B] tensors, and c_x, c_x0, c_noise.

    The [B] tensors stay on the CPU: every sample has the same time, so that what depends on it is
    plain numbers, and a GPU is not asked for them.
    """

    def __init__(self, process: Process, x: Tensor, times: Tensor, eta: float) -> None:
        if times.ndim != 1 or len(times) < 2 or not bool((times[1:] < times[:-1]).all()):
            raise ValueError("a grid must be a falling sequence of at least two times")
        exact = times.detach().double().cpu()
        self.t: tuple[float, ...] = tuple(exact.tolist())
        if self.t[0] > process.t_max or self.t[-1] < 0:
            raise ValueError(
                f"the grid runs from {self.t[0]:g} to {self.t[-1]:g}, outside the process's range"
                f" of 0 to {process.t_max:g}"
            )
        self.total = len(times) - 1
        self.now = exact.unsqueeze(1).expand(-1, x.shape[0]).unbind(0)
        self.c = _coefficients(process, self.t, eta)

    def step(self, i: int, x: Tensor, x0: Tensor, noise: Noise | None) -> Tensor:
        """x at the grid's next time: `process.step` as three multiply-adds."""
        c_x, c_x0, c_noise = self.c[i]
        y = (x * c_x).add_(x0, alpha=c_x0)
        if c_noise:
            if noise is None:
                raise ValueError("a stochastic step (eta above 0) needs a source of noise")
            y.add_(noise(self.t[i], self.t[i + 1]), alpha=c_noise)
        return y

    def done(self, i: int, x: Tensor, x0: Tensor) -> Step:
        """The Step that ends at time i + 1; FloatingPointError if it is not finite."""
        # One sum is a third of the cost of isfinite().all() and catches the same.
        if not math.isfinite(x.sum().item()) and not bool(x.isfinite().all()):
            part = "state" if bool(x0.isfinite().all()) else "network's prediction of x0"
            raise FloatingPointError(
                f"step {i + 1} of {self.total} (t = {self.t[i]:g} to {self.t[i + 1]:g}): the {part}"
                " is not finite; try float32, a lower guidance or more steps"
            )
        return Step(i, self.total, self.t[i + 1], x, x0)
