"""Heun's second-order method, two calls per step."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.step import Step, Walk, legs, move, only_ode


def heun(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """The trapezoidal rule on EDM's ODE, order 2, 2 * steps - 1 calls. EDM, algorithm 1.

    In terms of x_0, averaging the two slopes is one more step with
    x0 + (sigma_t alpha_s) / (alpha_t sigma_s) (x0' - x0) / 2 as its x_0. Where alpha_t = 0 that
    factor is infinite, and the mean of both x_0, also of order 2, replaces it. The last step, to
    sigma = 0, is Euler's.
    """
    only_ode("heun", eta)
    walk = Walk(process, x, times, 0.0)
    for i, (t, s) in enumerate(pairwise(walk.t)):
        x, x0 = trapezoid(walk, denoise, x, t, s)
        yield walk.done(i, x, x0)


def trapezoid(
    walk: Walk, denoise: Denoiser, x: Tensor, t: float, s: float
) -> tuple[Tensor, Tensor]:
    """One step of `heun` between any two times: x [B, ...] at s, and the x_0 it used."""
    now, then = walk.moments([t, s])
    (leg,) = legs(walk.process, (t,), (s,))
    x0 = denoise(x, now)
    y = move(leg, x, x0)
    if s == 0:
        return y, x0
    at_t, at_s = lambdas(walk.process, (t, s))
    share = 0.5 if at_t == -math.inf else math.exp(at_s - at_t) / 2
    x0 = torch.lerp(x0, denoise(y, then), share)
    return move(leg, x, x0), x0
