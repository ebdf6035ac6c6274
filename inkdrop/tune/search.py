"""Search for the sampler and grid that come closest to the converged solution in few steps."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.process import lambdas
from inkdrop.diffusion.samplers import sampler
from inkdrop.diffusion.times import GRIDS, grid
from inkdrop.tune.problem import Problem
from inkdrop.tune.weights import fit_weights

# Deterministic samplers with one call per step, including the fitted one, and grids to start from.
SAMPLERS = ("fitted", "dpmpp_2m", "dpmpp_3m", "unipc", "unipc_3", "deis", "lms", "ddim")
STARTS = ("share", "share:0.85", "beta", "shift:2", "uniform", "logsnr", "karras:5", "karras:10")
STARTED = 4  # number of best pairs that are improved
PROBE = 0.01  # step of the finite differences, in units of the gap to the time before
MOST = 12  # Gauss-Newton steps from one start
PARTS = (0.2, 0.2, 0.1, 0.1, 0.05, 0.05)  # moves in the pattern search, in units of the gap
LEAST_GAIN = 0.003  # relative decrease of the error below which a start is finished


@dataclass(frozen=True)
class Trial:
    """One sampler on one grid: its error on the problem, and how it was found.

    sampler: a name, or "fitted" for `samplers.fitted` with weights from `fit_weights`
    times: float64 [steps + 1]; found: the named grid, and whether it was tuned
    calls: network calls on the whole batch so far, without the problem's solution and the scout
    """

    sampler: str
    times: Tensor
    error: float
    found: str
    calls: int


class _Search:
    """The runs of one search, counted and limited in time."""

    def __init__(self, problem: Problem, steps: int, seconds: float) -> None:
        self.problem, self.steps = problem, steps
        self.calls, self.ends = 0, time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self.ends

    def rest(self, name: str, times: Tensor) -> Tensor:
        """The residual to the solution, [B, elements] float64."""
        self.calls += self.steps
        end = _end(self.problem, name, times)
        return (end - self.problem.answer).double().flatten(1).cpu()

    def trial(self, name: str, times: Tensor, rest: Tensor, found: str) -> Trial:
        return Trial(name, times, _size(rest), found, self.calls)


def _end(problem: Problem, name: str, times: Tensor) -> Tensor:
    """The result [B, ...] of a sampler on a grid; "fitted" is fitted to this problem."""
    if name == "fitted":
        return fit_weights(problem, times)[1]
    return problem.run(sampler(name), times)


def _size(rest: Tensor) -> float:
    return float(rest.square().mean(1).sqrt().mean())


def tune(
    problem: Problem,
    steps: int,
    *,
    seconds: float = math.inf,
    scout: Problem | None = None,
    samplers: Sequence[str] = SAMPLERS,
    starts: Sequence[str] = STARTS,
) -> Iterator[Trial]:
    """Yield ever better trials; the first has a named grid, the last is the best one found.

    Every pair of sampler and grid is tried on `scout`, a smaller problem of the same kind (None:
    the problem itself). The best few are improved by Gauss-Newton on the log-SNR of the inner
    times, with a Jacobian by finite differences: steps - 1 runs per round. Samples are weighted to
    minimise the sum of their distances rather than of the squares.
    seconds: time limit. ValueError for fewer than 2 steps or 4 samples.
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}: one step leaves no time to tune; give at least 2")
    if len(problem.x) < 4:
        raise ValueError(f"{len(problem.x)} samples are too few to tune on; give 16 or more")
    search = _Search(problem, steps, seconds)
    best: Trial | None = None
    tried = []
    ranked = _ranked(search, scout or problem, samplers, starts)
    # A pair without fitted weights comes first, as the reference for the others.
    plain = [pair for pair in ranked if pair[0] != "fitted"][:1]
    for name, start in plain + [pair for pair in ranked[:STARTED] if pair not in plain]:
        if search.over and best is not None:
            return
        times = grid(problem.process, start, steps)
        trial = search.trial(name, times, search.rest(name, times), start)
        tried.append(trial)
        if best is None or trial.error < best.error:
            best = trial
            yield trial
    for trial in sorted(tried, key=lambda trial: trial.error):
        for better in _improve(search, trial):
            if best is None or better.error < best.error:
                best = better
                yield better


def _ranked(
    search: _Search, scout: Problem, samplers: Sequence[str], starts: Sequence[str]
) -> list[tuple[str, str]]:
    """Pairs of sampler and grid, ordered by their error on the scout; at least one."""
    found = list[tuple[float, str, str]]()
    for start in starts:
        if _needs_unit_clock(start) and scout.process.t_max != 1:
            continue
        times = grid(scout.process, start, search.steps)
        for name in samplers:
            if search.over and found:
                break
            found.append((scout.error(_end(scout, name, times)), name, start))
    return [(name, start) for _, name, start in sorted(found)]


def _needs_unit_clock(start: str) -> bool:
    name = start.partition(":")[0]
    assert name in GRIDS
    return name in ("beta", "shift")


class _Inner:
    """The variables of the search: the lambda of a grid's inner times, with the residual there.

    level: lambda, half the log-SNR, [steps - 1]; the last time, 0, and the first are fixed.
    """

    def __init__(self, search: _Search, trial: Trial) -> None:
        self.search, self.sampler, self.found = search, trial.sampler, f"{trial.found}, tuned"
        self.process, self.first = search.problem.process, trial.times[:1]
        at = lambdas(self.process, tuple(trial.times[1:-1].tolist()))
        self.level = torch.tensor(at, dtype=torch.float64)
        self.rest = search.rest(trial.sampler, trial.times)
        self.size = _size(self.rest)

    def gap(self, j: int) -> float:
        """The gap in lambda from time j to the one before it (for the first: to the next)."""
        if len(self.level) == 1:
            return 1.0
        near = max(j, 1)
        return float(self.level[near] - self.level[near - 1])

    def times(self, level: Tensor) -> Tensor | None:
        """The grid, or None if its times do not decrease from t_max to at least t_min, then 0."""
        zero = self.first.new_zeros(1)
        times = torch.cat([self.first, self.process.time_at(2 * level), zero])
        falls = bool((times[1:] < times[:-1] - 1e-9).all())
        return times if falls and times[-2] >= self.process.t_min * (1 - 1e-9) else None

    def measure(self, level: Tensor) -> Tensor | None:
        """The residual at these times; None if they form no grid or time is up."""
        times = self.times(level)
        if times is None or self.search.over:
            return None
        return self.search.rest(self.sampler, times)

    def better(self, level: Tensor) -> bool:
        """Move there if the error is lower; whether it was."""
        rest = self.measure(level)
        if rest is None or not _size(rest) < self.size:
            return False
        self.level, self.rest, self.size = level, rest, _size(rest)
        return True

    def trial(self) -> Trial:
        """The current state as a trial."""
        times = self.times(self.level)
        assert times is not None
        return self.search.trial(self.sampler, times, self.rest, self.found)


def _improve(search: _Search, trial: Trial) -> Iterator[Trial]:
    """Gauss-Newton from a trial, followed by a pattern search over single times."""
    inner = _Inner(search, trial)
    yield from _newton(inner)
    yield from _pattern(inner)


def _newton(inner: _Inner) -> Iterator[Trial]:
    """Levenberg-Marquardt; yields after each round that lowers the error."""
    damping = 1e-3
    for _ in range(MOST):
        columns = []
        for j in range(len(inner.level)):
            moved = inner.level.clone()
            moved[j] -= PROBE * inner.gap(j)
            rest = inner.measure(moved)
            if rest is None:
                return
            columns.append((rest - inner.rest) / (moved[j] - inner.level[j]))
        slope = torch.stack(columns, -1)  # [B, elements, inner times]
        # Squares divided by a sample's distance, so the sum of distances is minimised (iteratively
        # reweighted least squares). The offset bounds the weight of samples near the solution.
        each = 1 / (inner.rest.square().mean(1).sqrt() + 0.1 * inner.size)
        hessian = torch.einsum("b,bei,bej->ij", each, slope, slope)
        downhill = -torch.einsum("b,bei,be->i", each, slope, inner.rest)
        # The small multiple of the largest keeps the system solvable if a time has no effect.
        scale = torch.diag(hessian.diagonal() + 1e-9 * hessian.diagonal().max() + 1e-30)
        before = inner.size
        for _ in range(6):
            if inner.better(inner.level + torch.linalg.solve(hessian + damping * scale, downhill)):
                damping /= 5
                yield inner.trial()
                break
            damping *= 5
        if inner.size > (1 - LEAST_GAIN) * before:
            return


def _pattern(inner: _Inner) -> Iterator[Trial]:
    """Move one time after another, back and forth, by ever smaller parts of its gap.

    If noises lie on the border between two outcomes, the error is not a smooth function of the
    times; this makes progress where Newton's method is stuck.
    """
    for part in PARTS:
        for j in range(len(inner.level)):
            for way in (part, -part):
                moved = inner.level.clone()
                moved[j] += way * inner.gap(j)
                if inner.better(moved):
                    yield inner.trial()
                    break
