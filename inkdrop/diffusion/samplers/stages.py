"""What two-stage samplers share: a step's middle in log-SNR, and where an ancestral one ends."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.step import below, times_at


@dataclass(frozen=True)
class Stages:
    """A step from t to s that goes to `end` (s itself, or below it to draw noise back) by `middle`.

    middle is None where log-SNR is infinite at an end: such a step is DDIM's.
    """

    t: float
    s: float
    end: float
    middle: float | None


@lru_cache(maxsize=64)
def stages(process: Process, times: tuple[float, ...], eta: float = 0.0) -> tuple[Stages, ...]:
    """The stages of each step of a grid; eta is the share of noise drawn after the step."""
    found = []
    for t, s in pairwise(times):
        end = below(process, t, s, eta)
        at_t, at_end = lambdas(process, (t, end))
        whole = math.isfinite(at_t) and math.isfinite(at_end)
        middle = times_at(process, [(at_t + at_end) / 2])[0] if whole else None
        found.append(Stages(t, s, end, middle))
    return tuple(found)
