"""A problem: noises, a denoiser, and the converged solution that samplers are measured against."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import Sampler, Step
from inkdrop.diffusion.samplers.dpmpp_2m import dpmpp_2m
from inkdrop.diffusion.times import grid

# A network's output ripples slightly in t, which too few steps alias: on the Fashion-MNIST model,
# 200 steps uniform in log-SNR are off by 0.017, 200 on the share grid by 0.003
# (benchmarks/RESULTS.md).
DENSE = 200


def calls_to_solve(dense: int = DENSE) -> int:
    """The number of network calls in `solve`."""
    return dense + dense // 2


@dataclass(frozen=True)
class Problem:
    """The solution of the probability-flow ODE from noises x [B, ...] at t_max.

    answer [B, ...]: by DPM-Solver++(2M), second order, in `DENSE` steps on the share grid
    doubt [B]: its distance to the solution with half as many steps, which exceeds its error
    path: the states [B, ...] along the way where log-SNR is finite; levels: their log-SNR
    """

    process: Process
    denoise: Denoiser
    x: Tensor
    answer: Tensor
    doubt: Tensor
    path: tuple[Tensor, ...]
    levels: Tensor

    def state_at(self, t: Tensor) -> Tensor:
        """The ODE's state [B, ...] at a time [] of finite log-SNR, interpolated from the path.

        By the cubic in log-SNR through the four nearest states.
        """
        level = float(self.process.logsnr(t))
        near = int(torch.searchsorted(self.levels, level)) - 2
        first = min(max(near, 0), max(len(self.levels) - 4, 0))
        nodes = self.levels[first : first + 4].tolist()
        state = torch.zeros_like(self.x)
        for node, x in zip(nodes, self.path[first : first + 4], strict=True):
            others = [other for other in nodes if other != node]
            weight = math.prod((level - other) / (node - other) for other in others)
            state.add_(x, alpha=weight)
        return state

    def part(self, count: int, denoise: Denoiser) -> Problem:
        """The problem of the first `count` noises; denoise: bound to their conditions."""
        path = tuple(x[:count] for x in self.path)
        parts = self.x[:count], self.answer[:count], self.doubt[:count]
        return Problem(self.process, denoise, *parts, path, self.levels)

    def errors(self, end: Tensor) -> Tensor:
        """Per-sample root mean square distance [B] of a run's result to the solution."""
        return distance(end, self.answer)

    def error(self, end: Tensor) -> float:
        """The mean of `errors`, which a single sample with another outcome does not dominate."""
        return float(self.errors(end).mean())

    def run(self, sampler: Sampler, times: Tensor) -> Tensor:
        """The result [B, ...] of a deterministic sampler on a grid."""
        return _last(sampler(self.process, self.denoise, self.x, times))


def solve(process: Process, denoise: Denoiser, x: Tensor, dense: int = DENSE) -> Problem:
    """The problem with its solution; x [B, ...]: noises at t_max."""
    coarse = _last(dpmpp_2m(process, denoise, x, grid(process, "share", dense // 2)))
    times = grid(process, "share", dense)
    path = [x, *(step.x for step in dpmpp_2m(process, denoise, x, times))]
    levels = process.logsnr(times)
    known = [i for i in range(len(times)) if bool(levels[i].isfinite())]
    return Problem(
        process, denoise, x, path[-1], distance(coarse, path[-1]),
        tuple(path[i] for i in known), levels[known],
    )  # fmt: skip


class Counted:
    """A denoiser that counts its calls."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.denoise(x, t)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Per-sample root mean square difference, [B] float64 on the CPU."""
    return (a - b).double().square().flatten(1).mean(1).sqrt().cpu()


def _last(steps: Iterator[Step]) -> Tensor:
    for step in steps:
        x = step.x
    return x
