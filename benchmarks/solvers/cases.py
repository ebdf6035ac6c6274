"""The test cases: solvers as functions of noise and steps, mixtures, and converged solutions.

A solver maps unit noise to samples. How many steps fit into a budget of network calls is found by
counting calls, never assumed.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.process import VE, Flow, Process, lambdas
from inkdrop.diffusion.samplers import SAMPLERS
from inkdrop.tune.problem import Counted
from tests.support.exact import Mixture

BUDGETS = (5, 8, 10, 15, 20, 50)
# The two values that `distances` returns.
ODE_SCORES = ("rms", "mean")
PROCESSES: dict[str, Process] = {
    "linear": Discrete("linear"),
    "cosine": Discrete("cosine"),
    "ve": VE(),
    "flow": Flow(),
}
# (process, denoiser, unit noise [B, ...], steps) -> samples [B, ...]
Sample = Callable[[Process, Denoiser, Tensor, int], Tensor]


@dataclass(frozen=True)
class Solver:
    """A sampler with its grid and options.

    family: the sampler's name alone
    fresh: it draws new noise on the way
    by_tolerance: `sample` takes the fineness of a tolerance instead of a number of steps; the
    number of calls then depends on the data
    """

    family: str
    name: str
    fresh: bool
    sample: Sample
    by_tolerance: bool = False


def calls(solver: Solver, process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> int:
    """The number of denoiser calls of a solver."""
    counted = Counted(denoise)
    solver.sample(process, counted, noise, steps)
    return counted.calls


@cache
def steps_within(solver: Solver, process: Process, budget: int) -> int | None:
    """The largest number of steps within `budget` calls; None if even one step takes more."""
    steps = budget
    while steps > 0:
        needed = calls(solver, process, lambda x, t: x * 0, torch.ones(1, 2), steps)
        if needed <= budget:
            return steps
        steps = min(steps - 1, math.ceil(steps * budget / needed) + 1)
    return None


def run(
    solver: Solver, process: Process, denoise: Denoiser, noise: Tensor, budget: int
) -> Tensor | None:
    """Samples within the budget of calls; None if the solver cannot stay within it."""
    if not solver.by_tolerance:
        steps = steps_within(solver, process, budget)
        return None if steps is None else solver.sample(process, denoise, noise, steps)
    found = None
    for fine in range(24):
        counted = Counted(denoise)
        x = solver.sample(process, counted, noise, fine)
        if counted.calls > budget:
            break
        found = x
    return found


@dataclass
class BrownianPath:
    """A Brownian path over lambda for a whole batch, from one seed: SeededNoise, one generator.

    Overlapping intervals share their noise, as two-stage samplers expect.
    """

    process: Process
    shape: tuple[int, ...]
    seed: int = 0
    _known: list[tuple[float, Tensor]] = field(default_factory=list)
    _fresh: dict[tuple[float, float, int], Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._generator = generator(self.seed, "path")

    def _draw(self) -> Tensor:
        return torch.randn(self.shape, generator=self._generator, dtype=torch.float64)

    def __call__(self, t: float, s: float, k: int = 0) -> Tensor:
        at_t, at_s = lambdas(self.process, (t, s))
        if s >= t or at_s == math.inf:
            return self._fresh.setdefault((t, s, k), self._draw())
        z = self._at(at_s)
        if at_t == -math.inf:
            return z
        h = at_s - at_t
        return (z - math.exp(-h) * self._at(at_t)) / math.sqrt(-math.expm1(-2 * h))

    def _at(self, level: float) -> Tensor:
        """The stationary process with covariance e^-|difference|, conditioned on earlier values."""
        before = [known for known in self._known if known[0] <= level]
        after = [known for known in self._known if known[0] > level]
        if before and before[-1][0] == level:
            return before[-1][1]
        mean, variance = torch.zeros(()), 1.0
        a = level - before[-1][0] if before else math.inf
        b = after[0][0] - level if after else math.inf
        whole = -math.expm1(-2 * (a + b))
        if before:
            mean = mean + before[-1][1] * (math.exp(-a) * -math.expm1(-2 * b) / whole)
        if after:
            mean = mean + after[0][1] * (math.exp(-b) * -math.expm1(-2 * a) / whole)
        variance = math.expm1(-2 * a) * math.expm1(-2 * b) / whole
        value = mean + math.sqrt(variance) * self._draw()
        insort(self._known, (level, value), key=lambda known: known[0])
        return value


def mixture(dims: int) -> Mixture:
    """Five components in the plane, or ten in more dimensions.

    Standard deviations are 0.1 to 0.3 in the plane, else 0.1 to 0.4. Means lie within about
    [-1, 1], like all data here. Weights fall from 0.35 to 0.08 in the plane, else from 0.2 on.
    """
    if dims == 2:
        means = [[-0.8, 0.5], [0.7, -0.6], [0.5, 0.9], [-0.5, -0.7], [0.1, 0.05]]
        stds, weights = [0.2, 0.3, 0.15, 0.25, 0.1], [0.35, 0.25, 0.2, 0.12, 0.08]
        centres = torch.tensor(means, dtype=torch.float64)
    else:
        centres = 0.5 * torch.randn((10, dims), generator=generator(0, "means")).double()
        stds = torch.linspace(0.1, 0.4, 10).tolist()
        weights = [0.2, 0.18, 0.15, 0.12, 0.1, 0.08, 0.06, 0.05, 0.04, 0.02]
    f64 = torch.float64
    return Mixture(
        means=centres, stds=torch.tensor(stds, dtype=f64), weights=torch.tensor(weights, dtype=f64)
    )


def denoiser(of: Mixture, process: Process) -> Denoiser:
    """`of.denoiser(process)` as two matrix products, ten times as fast; x [B, D], t [B]."""
    means, stds, weights = of.means, of.stds, of.weights

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        t = t[:1] if t.stride() == (0,) else t
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        y = x.double()
        variance = (alpha * stds) ** 2 + sigma**2  # [B or 1, K]
        far = y.square().sum(1, keepdim=True) + alpha**2 * means.square().sum(1)
        gap = far - 2 * alpha * (y @ means.T)
        logits = weights.log() - 0.5 * (gap / variance + y.shape[1] * variance.log())
        share = logits.softmax(1)
        slope = alpha * stds**2 / variance
        x0: Tensor = (share * (1 - alpha * slope)) @ means + (share * slope).sum(
            1, keepdim=True
        ) * y
        return x0.to(x.dtype)

    return denoise


def check_denoiser(of: Mixture, process: Process) -> None:
    """Asserts that both implementations of the mixture's denoiser agree."""
    for share in (0.02, 0.5, 0.98):
        t = torch.tensor([share * process.t_max], dtype=torch.float64).expand(64)
        x = of.noisy(process, float(t[0]), 64)
        torch.testing.assert_close(denoiser(of, process)(x, t), of.denoiser(process)(x, t))


def unit_noise(n: int, dims: int, seed: int) -> Tensor:
    """Initial noise [n, dims]; seed 0 is for measuring, others are for tuning."""
    return torch.randn(n, dims, generator=generator(seed, "solvers", dims), dtype=torch.float64)


def converged(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
    """The ODE's solution from unit noise at t_max: dpmpp_3m, even in log-SNR, far below t_min."""
    high = process.t_max if isinstance(process, VE | Discrete) else 1 - 1e-6
    ends = torch.tensor([high, process.t_min / 100], dtype=torch.float64)
    first, last = process.logsnr(ends).tolist()
    inner = process.time_at(torch.linspace(first, last, steps, dtype=torch.float64))
    top = [] if high == process.t_max else [process.t_max]
    if not top:
        inner[0] = process.t_max
    times = torch.cat([torch.tensor(top, dtype=torch.float64), inner, inner.new_zeros(1)])
    x = noise * float(process.sigma(times[:1]))
    for step in SAMPLERS["dpmpp_3m"](process, denoise, x, times):
        x = step.x
    return x


def distances(x: Tensor, truth: Tensor) -> tuple[float, float]:
    """The root mean square and the mean, over samples, of each sample's RMS distance.

    The first is dominated by the few noises between two modes; `inkdrop compare` uses the second.
    """
    each = (x.double() - truth.double()).square().flatten(1).mean(1)
    return float(each.mean().sqrt()), float(each.sqrt().mean())


def misfit(x: Tensor, of: Mixture) -> float:
    """One number for how far samples [N, D] are from the mixture's weights, means and spreads.

    Each sample is assigned to its likeliest component. The result is the root of the sum of three
    mean squares, weighted over components: the relative error of the share, the error of the mean
    per element in units of the spread, and the relative error of the spread.
    """
    dims = x.shape[1]
    gap = torch.cdist(x.double(), of.means).square()
    likely = of.weights.log() - dims * of.stds.log() - gap / (2 * of.stds**2)
    nearest = likely.argmax(1)
    total = 0.0
    for k, (mean, std, weight) in enumerate(zip(of.means, of.stds, of.weights, strict=True)):
        mine = x[nearest == k].double()
        share = len(mine) / len(x) / weight
        total += float(weight * (share - 1) ** 2)
        if len(mine) < 2:
            total += float(weight) * 2  # no samples: mean and spread both count as 100 % wrong
            continue
        shift = (mine.mean(0) - mean).square().mean() / std**2
        spread = (mine - mean).square().mean().sqrt() / std
        total += float(weight * (shift + (spread - 1) ** 2))
    return math.sqrt(total)
