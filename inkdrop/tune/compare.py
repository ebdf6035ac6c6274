"""Comparing samplers on a model: how near they come to its converged answer, at what cost."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from inkdrop.diffusion.samplers import ABOUT, canonical
from inkdrop.model import Model
from inkdrop.tasks.plan import chosen
from inkdrop.tasks.sampling import DEFAULT, Sampling
from inkdrop.tune.fit import problem
from inkdrop.tune.problem import Counted, Problem

SAMPLERS = ("ddim", "dpmpp_2m", "unipc", "deis", "heun")


@dataclass(frozen=True)
class Row:
    """One run: its end x [B, ...], error as in `Problem.error`, network calls and seconds."""

    sampler: str
    steps: int
    calls: int
    error: float
    seconds: float
    x: Tensor


def check(samplers: Sequence[str], steps: Sequence[int]) -> list[str]:
    """The samplers' own names; ValueError for one that cannot be compared with one answer."""
    names = [canonical(name) for name in samplers]
    for name in names:
        if ABOUT[name].fresh:
            raise ValueError(
                f"{name} draws fresh noise, so it has no one answer to be compared with; compare"
                " deterministic samplers"
            )
    if not names or not steps:
        raise ValueError("there is nothing to compare: name steps and samplers")
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
    """First the problem with its converged answer, then a row for every sampler and steps.

    The noises are samples 0 ... count - 1 of seed 0, their classes in turn. sampling: its grid (the
    model's own or the default if None) and guidance count. What was tuned for it comes last.
    """
    names = check(samplers, steps)
    plans = {  # all before the first call
        (name, n): chosen(model, replace(sampling, sampler=name, steps=n))
        for name in names
        for n in steps
    }
    for tuned in model.spec.tuned:
        if tuned.steps in steps:
            plans["tuned", tuned.steps] = chosen(model, Sampling(steps=tuned.steps))
    if count < 1:
        raise ValueError(f"count is {count}: compare on at least 1 sample")
    known = problem(model, 0, count, sampling)
    yield known
    for (name, n), plan in plans.items():
        denoise = Counted(known.denoise)
        began = time.perf_counter()
        end = replace(known, denoise=denoise).run(plan.run, plan.times)
        seconds = time.perf_counter() - began
        yield Row(name, n, denoise.calls, known.error(end), seconds, end)
