"""Compare samplers on a model: distance to its converged solution, and cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inkdrop.diffusion.samplers import ABOUT, canonical
from inkdrop.limits import NOISES, check_within
from inkdrop.model import Model
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import DEFAULT, Sampling
from inkdrop.tune.fit import problem
from inkdrop.tune.problem import Counted, Problem

SAMPLERS = ("ddim", "dpmpp_2m", "unipc", "deis", "heun")


@dataclass(frozen=True)
class Row:
    """One run: its result x [B, ...], error as in `Problem.error`, network calls and seconds."""

    sampler: str
    steps: int
    calls: int
    error: float
    seconds: float
    x: Tensor


def check(samplers: Sequence[str], steps: Sequence[int]) -> list[str]:
    """The canonical names of samplers; ValueError for a stochastic sampler or an empty list."""
    names = [canonical(name) for name in samplers]
    for name in names:
        if ABOUT[name].fresh:
            raise ValueError(
                f"{name} draws fresh noise, so it has no unique solution to compare with; give"
                " deterministic samplers"
            )
    if not names or not steps:
        raise ValueError("there is nothing to compare; give at least one sampler and step count")
    return names


@torch.no_grad()
def compare(
    model: Model,
    *,
    steps: Sequence[int] = (5, 10, 20, 50),
    samplers: Sequence[str] = SAMPLERS,
    count: int = 16,
    sampling: Sampling = DEFAULT,
) -> Iterator[Problem | Row]:
    """Yield the problem with its converged solution, then a row per sampler and step count.

    The noises are those of samples 0 ... count - 1 of seed 0, with the classes in turn. sampling:
    only its grid (None: the model's own or the default) and guidance are used. The model's tuned
    samplers come last. ValueError for samplers or counts that cannot be compared.
    """
    names = check(samplers, steps)
    plans = {  # all before the first network call, so that errors come early
        (name, n): chosen(model, replace(sampling, sampler=name, steps=n))
        for name in names
        for n in steps
    }
    for tuned in model.spec.tuned:
        if tuned.steps in steps:
            plans["tuned", tuned.steps] = chosen(model, Sampling(steps=tuned.steps))
    check_within("count", count, 1, NOISES)
    known = problem(model, 0, count, sampling)
    yield known
    for (name, n), plan in plans.items():
        denoise = Counted(known.denoise)
        began = time.perf_counter()
        end = replace(known, denoise=denoise).run(plan.run, plan.times)
        seconds = time.perf_counter() - began
        yield Row(name, n, denoise.calls, known.error(end), seconds, end)
