"""Predictor-corrector methods with one call per step: UniPC (ODE) and SA-Solver (SDE)."""

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
    """For each step, the weights of the recent x_0 in the predictor and in the corrector.

    The corrector's first weight is for x_0 at the end of the step; it has no weights if log-SNR is
    infinite at an end. Before a last step to sigma = 0, which is first order, the order is lowered
    step by step.
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
            # With one prediction the corrector is the trapezoidal rule, as in the paper's B_2(h).
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
    """Each step is repeated once x_0 at its end is known, and the next step starts from the result.

    One network call serves both. So does the noise, since it is a function of the interval.
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
    """UniPC-2 with B_2(h) on x_0: DPM-Solver++(2M) with a corrector; order 3, one call per step.

    Zhao et al. 2023, algorithms 1 and 2. The weights that the paper solves for are those of the
    exact integral of the interpolating polynomial.
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
    """UniPC-3 with B_2(h) on x_0: DPM-Solver++(3M) with a corrector; order 4, one call per step."""
    only_ode("unipc_3", eta)
    walk = Walk(process, x, times, 0.0)
    return corrected(walk, denoise, x, weights_of(third, process, walk.t, 3, 1.0))


def third(nodes: Sequence[float], end: float) -> Sequence[float]:
    """UniPC-3's predictor: the exact integral of a parabola, or 2M's rule with fewer nodes."""
    return extrapolated(nodes, end) if len(nodes) < 3 else exponential(1.0)(nodes, end)


@lru_cache(maxsize=64)
def tau_legs(
    process: Process, times: tuple[float, ...], tau: float
) -> tuple[tuple[float, float, float], ...]:
    """(c_x, c_x0, c_noise) of each step of the SDE with noise tau, x_0 constant. SA-Solver, eq. 5.

    At tau = 0 and 1 they equal those of `process.step` at eta = 0 and 1.
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
    """SA-Solver: stochastic Adams with a three-step predictor and a corrector; one call per step.

    Xue et al. 2023, algorithm 1; eta is its tau, 0 (ODE) to 1 (the reverse SDE).
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta is {eta}: for sa_solver it is tau, from 0 (ODE) to 1 (SDE)")
    walk, rate = Walk(process, x, times, 0.0), 1 + eta**2
    walk.c = tau_legs(process, walk.t, eta)
    weights = weights_of(exponential(rate), process, walk.t, 3, rate)
    return corrected(walk, denoise, x, weights, noise)
