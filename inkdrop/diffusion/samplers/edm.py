"""EDM's stochastic sampler: a little fresh noise before each Heun step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.heun import trapezoid
from inkdrop.diffusion.samplers.step import Step, Walk, climb, times_at

CHURN, LOWEST, HIGHEST = 40.0, 0.05, 50.0


def edm(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Churn and Heun, 2 * steps - 1 calls. EDM, algorithm 2.

    Before a step, noise raises the state to sigma (1 + gamma), gamma = min(eta 40 / steps,
    sqrt(2) - 1), if sigma / alpha is between 0.05 and 50 (EDM's S_churn, S_tmin and S_tmax for
    ImageNet; S_noise is 1 here). eta: 0 (Heun's method) to 1; ValueError otherwise.
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: for edm it is the share of the churn, from 0 to 1")
    walk = Walk(process, x, times, 0.0)
    gamma = min(eta * CHURN / walk.total, math.sqrt(2) - 1)
    low, high = -math.log(HIGHEST), -math.log(LOWEST)
    for i, level in enumerate(lambdas(process, walk.t)[:-1]):
        t = up = walk.t[i]
        if gamma and low <= level <= high:
            (up,) = times_at(process, [level - math.log1p(gamma)])
            up = min(max(up, t), process.t_max)
        x, x0 = trapezoid(walk, denoise, climb(process, x, t, up, noise), up, walk.t[i + 1])
        yield walk.done(i, x, x0)
