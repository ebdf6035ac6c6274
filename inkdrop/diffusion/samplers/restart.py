"""Restart sampling: an interval of noise levels is traversed repeatedly, with fresh noise."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import lru_cache
from itertools import pairwise

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.heun import trapezoid
from inkdrop.diffusion.samplers.step import Step, Walk, climb, finite, times_at

# The restart interval in sigma / alpha, the number of restarts, and rho of EDM's grid within it.
# The paper's best intervals for pictures of 32 to 512 pixels lie within this one.
LOWEST, HIGHEST, TIMES, RHO = 0.1, 2.0, 2, 7.0


def restart(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Heun's method with two restarts from sigma = 0.1 up to 2. Xu et al. 2023, algorithm 1.

    At the first time of the grid with sigma / alpha of at most 0.1, fresh noise raises the state to
    2, and it comes down again in a third of the grid's steps (at least 2); this happens twice. On a
    grid without such a time it is Heun's method. 2 * (steps + 2 * restart steps) - 1 calls.
    """
    if eta != 1:
        raise ValueError(
            f"eta is {eta}: restart draws fresh noise by definition; leave eta at 1 or use heun"
        )
    walk = Walk(process, x, times, 0.0)
    path = whole(process, walk.t)
    total = sum(s < t for t, s, _ in path)
    done = 0
    for t, s, k in path:
        if s > t:
            x = climb(process, x, t, s, noise, k)
        else:
            x, x0 = trapezoid(walk, denoise, x, t, s)
            yield finite(Step(done, total, s, x, x0), t)
            done += 1


@lru_cache(maxsize=64)
def whole(process: Process, times: tuple[float, ...]) -> tuple[tuple[float, float, int], ...]:
    """(from, to, number of the restart) of every leg, including those back up."""
    plain = [(t, s, 0) for t, s in pairwise(times)]
    level = lambdas(process, times)
    low, high = -math.log(LOWEST), -math.log(HIGHEST)
    place = next((i for i, at in enumerate(level) if low <= at < math.inf), None)
    if place is None or level[0] > high:
        return tuple(plain)
    count = max(2, (len(times) - 1) // 3)
    root = torch.linspace(math.exp(-high / RHO), math.exp(-level[place] / RHO), count + 1)
    down = times_at(process, (-RHO * root.double().log()).tolist())
    again = [(times[place], down[0]), *pairwise((*down[:-1], times[place]))]
    legs = [(t, s, k) for k in range(TIMES) for t, s in again]
    return (*plain[:place], *legs, *plain[place:])
