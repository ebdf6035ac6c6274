"""Tuning: the sampler and the grid that bring few steps nearest to a model's converged answer."""

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

# Deterministic samplers of one call a step, the fitted one among them, and grids to begin from.
SAMPLERS = ("fitted", "dpmpp_2m", "dpmpp_3m", "unipc", "unipc_3", "deis", "lms", "ddim")
STARTS = ("share", "share:0.85", "beta", "shift:2", "uniform", "logsnr", "karras:5", "karras:10")
STARTED = 4  # of the best pairs, how many are improved
PROBE = 0.01  # how far a time is moved to see what it does, in units of its gap
MOST = 12  # Gauss-Newton steps from one start
PARTS = (0.2, 0.2, 0.1, 0.1, 0.05, 0.05)
LEAST_GAIN = 0.003  # of the error; with less, a start is done


@dataclass(frozen=True)
class Trial:
    """One sampler on one grid: its error on the problem, and how it was found.

    sampler "fitted" is `samplers.fitted` with the weights that `fit_weights` finds there.

    calls: network calls on the whole batch so far, without the problem's answer and the scout.
    """

    sampler: str
    times: Tensor
    error: float
    found: str
    calls: int


class _Search:
    """The runs of one search, counted."""

    def __init__(self, problem: Problem, steps: int, seconds: float) -> None:
        self.problem, self.steps = problem, steps
        self.calls, self.ends = 0, time.monotonic() + seconds

    @property
    def over(self) -> bool:
        return time.monotonic() > self.ends

    def rest(self, name: str, times: Tensor) -> Tensor:
        """What is missing to the answer, [B, elements], float64."""
        self.calls += self.steps
        end = _end(self.problem, name, times)
        return (end - self.problem.answer).double().flatten(1).cpu()

    def trial(self, name: str, times: Tensor, rest: Tensor, found: str) -> Trial:
        return Trial(name, times, _size(rest), found, self.calls)


def _end(problem: Problem, name: str, times: Tensor) -> Tensor:
    """Where a sampler leads on a grid; the fitted one is fitted to this problem."""
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
    """Ever better trials, the first with a grid by name; the last is the best that was found.

    Every pair of sampler and grid is tried on `scout`, a smaller problem of the same kind (None:
    on the problem itself); the best few are improved by Gauss-Newton on the log-SNR of the times
    between the first and the end, with the Jacobian by differences: steps - 1 runs a round.
    Samples are weighed so that the sum of their distances falls, not of the squares.
    ValueError if there is nothing to tune.
    """
    if steps < 2:
        raise ValueError(f"steps is {steps}: a grid of one step has no time that could be tuned")
    if len(problem.x) < 4:
        raise ValueError(f"{len(problem.x)} samples are too few to tune on; take 16 or more")
    search = _Search(problem, steps, seconds)
    best: Trial | None = None
    tried = []
    ranked = _ranked(search, scout or problem, samplers, starts)
    # One that needs no fitting comes first: the others are measured against it.
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
    """Pairs of sampler and grid, the nearest to the scout's answer first; at least one."""
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
    """The log-SNR of a grid's inner times, which are what is tuned, and the error they lead to."""

    def __init__(self, search: _Search, trial: Trial) -> None:
        self.search, self.sampler, self.found = search, trial.sampler, f"{trial.found}, tuned"
        self.process, self.first = search.problem.process, trial.times[:1]
        at = lambdas(self.process, tuple(trial.times[1:-1].tolist()))
        self.level = torch.tensor(at, dtype=torch.float64)
        self.rest = search.rest(trial.sampler, trial.times)
        self.size = _size(self.rest)

    def gap(self, j: int) -> float:
        """How far time j is from the one before, in lambda; the first, from the next."""
        if len(self.level) == 1:
            return 1.0
        near = max(j, 1)
        return float(self.level[near] - self.level[near - 1])

    def times(self, level: Tensor) -> Tensor | None:
        """The grid, or None if its times do not fall from t_max to t_min and 0."""
        zero = self.first.new_zeros(1)
        times = torch.cat([self.first, self.process.time_at(2 * level), zero])
        falls = bool((times[1:] < times[:-1] - 1e-9).all())
        return times if falls and times[-2] >= self.process.t_min * (1 - 1e-9) else None

    def measure(self, level: Tensor) -> Tensor | None:
        """What is missing with these times; None if they are no grid or time is over."""
        times = self.times(level)
        if times is None or self.search.over:
            return None
        return self.search.rest(self.sampler, times)

    def better(self, level: Tensor) -> bool:
        """Goes there if the error is lower."""
        rest = self.measure(level)
        if rest is None or not _size(rest) < self.size:
            return False
        self.level, self.rest, self.size = level, rest, _size(rest)
        return True

    def trial(self) -> Trial:
        """Where the search stands."""
        times = self.times(self.level)
        assert times is not None
        return self.search.trial(self.sampler, times, self.rest, self.found)


def _improve(search: _Search, trial: Trial) -> Iterator[Trial]:
    """Gauss-Newton from a trial on, then single times by trial and error."""
    inner = _Inner(search, trial)
    yield from _newton(inner)
    yield from _pattern(inner)


def _newton(inner: _Inner) -> Iterator[Trial]:
    """Levenberg-Marquardt; yields after each round that lowered the error."""
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
        # Squares weighed by one over a sample's distance: what falls is the sum of distances.
        each = 1 / (inner.rest.square().mean(1).sqrt() + 0.1 * inner.size)
        hessian = torch.einsum("b,bei,bej->ij", each, slope, slope)
        downhill = -torch.einsum("b,bei,be->i", each, slope, inner.rest)
        # The tiny share of the largest keeps the system solvable where a time does nothing.
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
    """One time after the other, back and forth, by smaller and smaller parts of its gap.

    Where noises lie on the border between two ends the error is no smooth function of the times,
    and this goes on where Newton's method is stuck.
    """
    for part in PARTS:
        for j in range(len(inner.level)):
            for way in (part, -part):
                moved = inner.level.clone()
                moved[j] += way * inner.gap(j)
                if inner.better(moved):
                    yield inner.trial()
                    break
