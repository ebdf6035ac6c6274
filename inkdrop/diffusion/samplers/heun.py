"""Heun's second-order method, two calls a step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Step, Walk, log_snrs


def heun(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """The trapezoidal rule on EDM's ODE, order 2, 2 steps - 1 calls. EDM, algorithm 1.

    In terms of x_0 the averaged slope is one more step fed with
    x0 + (sigma_t alpha_s) / (alpha_t sigma_s) (x0' - x0) / 2. Where alpha_t = 0 that factor is
    infinite and the average of both x_0, also of order 2, takes its place; the last step, into
    sigma = 0, is Euler's.
    """
    if eta:
        raise ValueError(f"eta is {eta}: heun is deterministic; use ddim or ddpm for fresh noise")
    walk = Walk(process, x, times, 0.0)
    # half the factor: exp((logsnr_s - logsnr_t) / 2) / 2
    level = log_snrs(process, walk.t)
    mix = [math.exp((s - t) / 2) / 2 if s < math.inf > -t else math.inf for t, s in pairwise(level)]
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        y = walk.step(i, x, x0, None)
        if walk.t[i + 1] > 0:
            correction = denoise(y, walk.now[i + 1])
            weight = 0.5 if mix[i] == math.inf else mix[i]
            x0 = torch.lerp(x0, correction, weight)
            y = walk.step(i, x, x0, None)
        x = y
        yield walk.done(i, x, x0)
