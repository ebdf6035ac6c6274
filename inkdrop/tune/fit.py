"""Fit a grid to a model: search on some noises, evaluate on others."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import best, sampler
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.diffusion.times import grid
from inkdrop.limits import NOISES, check_within
from inkdrop.model import Model, Tuned
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import start
from inkdrop.tasks.sampling import DEFAULT, Sampling
from inkdrop.tune.problem import Problem, calls_to_solve, solve
from inkdrop.tune.search import SAMPLERS, STARTED, STARTS, Trial, tune
from inkdrop.tune.weights import fit_weights

# Tune on sample numbers far from 0, where users begin, so that no sample drawn later was tuned on.
FIRST = 10**9
CHECKED = 16  # noises of the final evaluation
SCOUTS = 8  # noises of the smaller problem that ranks the starting points


@dataclass(frozen=True)
class Fitted:
    """The result of a search, evaluated on held-out noises; errors as in `Problem.error`.

    after: the error of the tuned sampler
    default: the sampler and grid used without tuning; before: its error
    named: the best sampler with a named grid; best_named: its error
    doubt: the uncertainty of the converged solution itself
    """

    tuned: Tuned
    after: float
    default: str
    before: float
    named: str
    best_named: float
    doubt: float

    @property
    def better(self) -> bool:
        """Whether the tuned grid is worth keeping."""
        return self.after < min(self.before, self.best_named)


def problem(model: Model, first: int, count: int, sampling: Sampling = DEFAULT) -> Problem:
    """The problem of samples first ... first + count - 1 of seed 0, with the classes in turn."""
    x, denoise = posed(model, first, count, sampling)
    return solve(model.process, denoise, x)


def posed(
    model: Model, first: int, count: int, sampling: Sampling = DEFAULT
) -> tuple[Tensor, Denoiser]:
    """The noises [count, ...] at t_max and the denoiser of such a problem."""
    names = model.classes
    labels = [names[i % len(names)] for i in range(count)] if names else None
    if names and not model.spec.condition_drop and sampling.guidance is None:
        sampling = Sampling(guidance=1.0)
    noise = SeededNoise(0, range(first, first + count), model.shape, model.process, model.device)
    end = torch.tensor([model.process.t_max], dtype=torch.float64)
    return start(model, noise, end), denoiser(model, labels, count, sampling)


@torch.no_grad()
def fit(
    model: Model,
    steps: int,
    *,
    minutes: float,
    count: int = 32,
    sampling: Sampling = DEFAULT,
    samplers: Sequence[str] = SAMPLERS,
) -> Iterator[Trial | Fitted]:
    """Yield ever better trials, and finally the evaluation of the best on other noises.

    sampling: only its guidance is used. ValueError if `minutes` do not suffice for the converged
    solutions and one run on every named grid.
    """
    model.process.check_steps(steps)
    if not 0 < minutes < math.inf:
        raise ValueError(f"minutes is {minutes:g}: it must be above 0, such as 5")
    ends = time.monotonic() + 60 * minutes
    check_within("count", count, 4, NOISES)
    _enough_time(model, steps, minutes, count, sampling, len(samplers))
    known = problem(model, FIRST, count, sampling)
    trial = named = None
    # Reserve the time of the final evaluation.
    # It solves a second problem and runs three samplers: tuned, default and best named.
    spare = (calls_to_solve() + 3 * steps) * _seconds(model, CHECKED, sampling)
    few = min(SCOUTS, count)
    scout = known.part(few, posed(model, FIRST, few, sampling)[1])
    left = max(ends - time.monotonic() - spare, 1.0)
    for trial in tune(known, steps, seconds=left, scout=scout, samplers=samplers):
        if named is None or (trial.found in STARTS and trial.sampler != "fitted"):
            named = trial
        yield trial
    assert trial is not None and named is not None
    yield _judged(model, known, trial, named, sampling)


def _judged(model: Model, known: Problem, trial: Trial, named: Trial, sampling: Sampling) -> Fitted:
    other = problem(model, FIRST + 10**6, CHECKED, sampling)
    tuned, plain = kept(known, trial), kept(known, named)
    default = best(model.process)
    default_grid = grid(model.process, default[1], tuned.steps)
    return Fitted(
        tuned,
        judge(other, tuned),
        " on ".join(default),
        other.error(other.run(sampler(default[0]), default_grid)),
        f"{named.sampler} on {named.found}",
        judge(other, plain),
        float(other.doubt.mean()),
    )


def kept(known: Problem, trial: Trial) -> Tuned:
    """The part of a trial that a model folder stores."""
    weights = fit_weights(known, trial.times)[0] if trial.sampler == "fitted" else ()
    return Tuned(len(trial.times) - 1, trial.sampler, tuple(trial.times.tolist()), weights)


def judge(other: Problem, tuned: Tuned) -> float:
    """The error of a tuned sampler on another problem of the same model."""
    run = fitted(tuned.weights) if tuned.weights else sampler(tuned.sampler)
    return other.error(other.run(run, torch.tensor(tuned.times, dtype=torch.float64)))


def _seconds(model: Model, count: int, sampling: Sampling) -> float:
    """Seconds of one network call for `count` samples on this machine, after a warm-up call."""
    x, denoise = posed(model, FIRST, count, sampling)
    t = torch.full((count,), model.process.t_min, dtype=torch.float64)
    denoise(x, t)
    began = time.perf_counter()
    denoise(x, t)
    return time.perf_counter() - began


def _enough_time(
    model: Model, steps: int, minutes: float, count: int, sampling: Sampling, samplers: int
) -> None:
    scouting = steps * samplers * len(STARTS) * min(SCOUTS, count) / count
    look = calls_to_solve() + scouting + steps * STARTED
    check = calls_to_solve() + 3 * steps
    one = _seconds(model, count, sampling)
    needed = (look * one + check * one * min(1.0, CHECKED / count)) / 60
    if minutes < needed:
        enough = math.ceil(20 * needed) / 10  # twice as much, rounded up to what is printed
        raise ValueError(
            f"minutes is {minutes:g}, but a call for {count} noises takes {one:.2g} s here, so the"
            f" converged solution and one run on every grid need more; give --minutes {enough:g},"
            " or use fewer noises with --count"
        )
