"""A problem: noises, a denoiser, and the converged answer that a sampler should reach from them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import Sampler, Step
from inkdrop.diffusion.samplers.heun import heun
from inkdrop.diffusion.times import grid

DENSE = 100


def calls_to_solve(dense: int = DENSE) -> int:
    """Network calls that `solve` makes."""
    return 2 * dense - 1 + 2 * (dense // 2) - 1


@dataclass(frozen=True)
class Problem:
    """Where the probability-flow ODE leads from noises x [B, ...] at t_max.

    answer [B, ...]: Heun's method on `DENSE` steps, even in log-SNR; doubt [B]: its distance to
    the answer with half as many, which is above its own error.
    """

    process: Process
    denoise: Denoiser
    x: Tensor
    answer: Tensor
    doubt: Tensor

    def errors(self, end: Tensor) -> Tensor:
        """Root mean square distance [B] of a run's end to the answer, over a sample's elements."""
        return distance(end, self.answer)

    def error(self, end: Tensor) -> float:
        """The mean of `errors`: one sample that ends elsewhere altogether does not decide it."""
        return float(self.errors(end).mean())

    def run(self, sampler: Sampler, times: Tensor) -> Tensor:
        """The end of a deterministic sampler's run on a grid."""
        return _last(sampler(self.process, self.denoise, self.x, times))


def solve(process: Process, denoise: Denoiser, x: Tensor, dense: int = DENSE) -> Problem:
    """The problem with its answer; x [B, ...] at t_max."""
    coarse, fine = (
        _last(heun(process, denoise, x, grid(process, "logsnr", steps)))
        for steps in (dense // 2, dense)
    )
    return Problem(process, denoise, x, fine, distance(coarse, fine))


class Counted:
    """A denoiser that counts how often it is called."""

    def __init__(self, denoise: Denoiser) -> None:
        self.denoise, self.calls = denoise, 0

    def __call__(self, x: Tensor, t: Tensor) -> Tensor:
        self.calls += 1
        return self.denoise(x, t)


def distance(a: Tensor, b: Tensor) -> Tensor:
    """Root mean square difference of each sample, [B] float64."""
    return (a - b).double().square().flatten(1).mean(1).sqrt().cpu()


def _last(steps: Iterator[Step]) -> Tensor:
    for step in steps:
        x = step.x
    return x
