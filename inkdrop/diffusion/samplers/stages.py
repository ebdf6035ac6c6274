"""Shared by two-stage samplers: a step's midpoint in log-SNR, and where an ancestral step lands."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.step import below, times_at


@dataclass(frozen=True)
class Stages:
    """A step from t to `end` via `middle`; `end` is s, or below s if noise then leads back up to s.

    middle is None if log-SNR is infinite at an end; such a step is DDIM's.
    """

    t: float
    s: float
    end: float
    middle: float | None


@lru_cache(maxsize=64)
def stages(process: Process, times: tuple[float, ...], eta: float = 0.0) -> tuple[Stages, ...]:
    """The stages of each step of a grid; eta: DDIM's, for the noise drawn after a step."""
    found = []
    for t, s in pairwise(times):
        end = below(process, t, s, eta)
        at_t, at_end = lambdas(process, (t, end))
        whole = math.isfinite(at_t) and math.isfinite(at_end)
        middle = times_at(process, [(at_t + at_end) / 2])[0] if whole else None
        found.append(Stages(t, s, end, middle))
    return tuple(found)
