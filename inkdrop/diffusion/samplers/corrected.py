"""Predictor and corrector at one call a step: UniPC (ODE) and SA-Solver (SDE)."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.dpmpp_2m import extrapolated
from inkdrop.diffusion.samplers.dpmpp_3m import exponential
from inkdrop.diffusion.samplers.multistep import Rule, adams, mix
from inkdrop.diffusion.samplers.step import Step, Walk, levels, only_ode


@lru_cache(maxsize=64)
def weights_of(
    rule: Rule, process: Process, times: tuple[float, ...], order: int, rate: float
) -> tuple[tuple[tuple[float, ...], tuple[float, ...]], ...]:
    """For each step the predictor's weights of the last x_0 and the corrector's.

    The corrector's first weight is for x_0 at the step's end. It has no weights where log-SNR is
    infinite at an end. Towards a last step to sigma = 0, which is first order, the order falls.
    """
    level, total = lambdas(process, times), len(times) - 1
    falls = level[-1] == math.inf
    found: list[tuple[tuple[float, ...], tuple[float, ...]]] = []
    for i in range(total):
        most = min(order, total - i) if falls else order
        nodes = [node for node in level[max(i - most + 1, 0) : i + 1][::-1] if node > -math.inf]
        end = level[i + 1]
        if not nodes or end == math.inf:
            found.append(((1.0,), ()))
        elif len(nodes) == 1:
            found.append(((1.0,), (0.5, 0.5)))
        else:
            correct = adams([end, *nodes], nodes[0], end, rate)
            found.append((tuple(rule(nodes, end)), tuple(correct)))
    return tuple(found)


def corrected(
    walk: Walk,
    denoise: Denoiser,
    x: Tensor,
    weights: Sequence[tuple[Sequence[float], Sequence[float]]],
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Each step is made again once x_0 at its end is known; the next begins from there.

    The same call serves both, and the same noise: it is a function of the interval.
    """
    history: list[Tensor] = []
    before = x
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        if i and weights[i - 1][1]:
            x = walk.step(i - 1, before, mix(weights[i - 1][1], [x0, *history]), noise)
        history, before = [x0, *history[:3]], x
        x = walk.step(i, x, mix(weights[i][0], history), noise)
        yield walk.done(i, x, x0)


def unipc(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """UniPC-2 with B_2(h) on x_0: DPM-Solver++(2M) and a corrector; order 3, one call a step.

    Zhao et al. 2023, algorithms 1 and 2. The corrector's solved weights are those of the
    polynomial's exact integral.
    """
    only_ode("unipc", eta)
    walk = Walk(process, x, times, 0.0)
    return corrected(walk, denoise, x, weights_of(extrapolated, process, walk.t, 2, 1.0))


def unipc_3(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """UniPC-3 with B_2(h) on x_0: DPM-Solver++(3M) and a corrector; order 4, one call a step."""
    only_ode("unipc_3", eta)
    walk = Walk(process, x, times, 0.0)
    return corrected(walk, denoise, x, weights_of(third, process, walk.t, 3, 1.0))


def third(nodes: Sequence[float], end: float) -> Sequence[float]:
    """UniPC-3's predictor: the parabola's exact integral, and before there is one, 2M's line."""
    return extrapolated(nodes, end) if len(nodes) < 3 else exponential(1.0)(nodes, end)


@lru_cache(maxsize=64)
def tau_legs(
    process: Process, times: tuple[float, ...], tau: float
) -> tuple[tuple[float, float, float], ...]:
    """(c_x, c_x0, c_noise) of the SDE with noise tau for a constant x_0. SA-Solver, eq. 5.

    At tau = 0 and 1 they are those of `process.step` at eta = 0 and 1.
    """
    level, size = lambdas(process, times), levels(process, times)
    found = []
    for i in range(len(times) - 1):
        h, drift = level[i + 1] - level[i], tau**2
        (_, sigma_t), (alpha_s, sigma_s) = size[i : i + 2]
        kept = sigma_s / sigma_t * (math.exp(-drift * h) if tau else 1.0)
        found.append(
            (
                kept,
                -alpha_s * math.expm1(-(1 + drift) * h),
                sigma_s * math.sqrt(-math.expm1(-2 * drift * h)) if tau else 0.0,
            )
        )
    return tuple(found)


def sa_solver(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """SA-Solver: stochastic Adams, predictor of three steps and corrector; one call a step.

    Xue et al. 2023, algorithm 1; eta is its tau, 0 (ODE) to 1 (the reverse SDE).
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: sa_solver takes its tau from 0 (ODE) to 1 (SDE)")
    walk, rate = Walk(process, x, times, 0.0), 1 + eta**2
    walk.c = tau_legs(process, walk.t, eta)
    weights = weights_of(exponential(rate), process, walk.t, 3, rate)
    return corrected(walk, denoise, x, weights, noise)
