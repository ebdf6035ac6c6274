"""Fitting a model's grid: search on some noises, judge on others."""

from __future__ import annotations

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
from inkdrop.model import Model, Tuned
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import start
from inkdrop.tasks.sampling import DEFAULT, Sampling
from inkdrop.tune.problem import Problem, calls_to_solve, solve
from inkdrop.tune.search import SAMPLERS, STARTED, STARTS, Trial, tune
from inkdrop.tune.weights import fit_weights

# Samples far from 0, where a user's own begin: what is tuned on is not what is drawn later.
FIRST = 10**9
CHECKED = 16
SCOUTS = 8


@dataclass(frozen=True)
class Fitted:
    """What a search found, judged on noises it did not see: errors as in `Problem.error`.

    before: the error of `default`, what would be used without tuning; named: of the best pair with
    a grid by name; doubt: what is not known of the converged answer itself.
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
        """True if the tuned grid is worth keeping."""
        return self.after < min(self.before, self.best_named)


def problem(model: Model, first: int, count: int, sampling: Sampling = DEFAULT) -> Problem:
    """The samples first ... first + count - 1 of seed 0, their classes in turn, with the answer."""
    x, denoise = posed(model, first, count, sampling)
    return solve(model.process, denoise, x)


def posed(
    model: Model, first: int, count: int, sampling: Sampling = DEFAULT
) -> tuple[Tensor, Denoiser]:
    """The noises at t_max and the denoiser of such a problem."""
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
    """Trials as they get better, and at last what the best one is worth on other noises.

    sampling: its guidance counts; sampler, grid and steps do not. ValueError if `minutes` do not
    suffice for the converged answers and one look at every grid by name.
    """
    model.process.check_steps(steps)
    ends = time.monotonic() + 60 * minutes
    if count < 4:
        raise ValueError(f"count is {count}: 4 noises are the least to tune on, 32 a good number")
    _enough_time(model, steps, minutes, count, sampling, len(samplers))
    known = problem(model, FIRST, count, sampling)
    trial = named = None
    # What checking will cost is kept back.
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
    """What a model folder keeps of a trial."""
    weights = fit_weights(known, trial.times)[0] if trial.sampler == "fitted" else ()
    return Tuned(len(trial.times) - 1, trial.sampler, tuple(trial.times.tolist()), weights)


def judge(other: Problem, tuned: Tuned) -> float:
    """The error of what was tuned on another problem of the same model."""
    run = fitted(tuned.weights) if tuned.weights else sampler(tuned.sampler)
    return other.error(other.run(run, torch.tensor(tuned.times, dtype=torch.float64)))


def _seconds(model: Model, count: int, sampling: Sampling) -> float:
    """How long one network call for `count` samples takes here, after one to warm up."""
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
        raise ValueError(
            f"minutes is {minutes:g}: a call for {count} noises takes {one:.2g} s here, so the"
            f" converged answer and one look at every grid need {needed:.1f}; allow twice that, or"
            " fewer noises with --count"
        )
