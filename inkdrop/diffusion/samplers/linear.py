"""Linear multistep methods on eps: LMS and DEIS, which differ in the variable of the polynomial."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.multistep import adams, of_eps
from inkdrop.diffusion.samplers.step import Step, Walk, only_ode


def in_sigma(nodes: Sequence[float], end: float) -> Sequence[float]:
    """Weights for the polynomial in sigma / alpha = e^-lambda through the recent eps."""
    sigma = [math.exp(-node) for node in nodes]
    return adams(sigma, sigma[0], math.exp(-end))


def in_log_sigma(nodes: Sequence[float], end: float) -> Sequence[float]:
    """Weights for the polynomial in log(sigma / alpha) through the recent eps.

    The integral is over sigma / alpha = e^-lambda, hence the rate -1.
    """
    return (1.0,) if end == math.inf else adams(nodes, nodes[0], end, -1.0)


def lms(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Adams-Bashforth of order 4 on EDM's ODE, dx/dsigma = eps, for a grid of any spacing.

    One call per step. Liu et al. 2022 (PNDM), eq. 9, is the special case of equal steps.
    """
    only_ode("lms", eta)
    return of_eps(Walk(process, x, times, 0.0), denoise, x, in_sigma, 4)


def deis(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DEIS, log-rho form, order 3, one call per step. Zhang and Chen 2023, eq. 15.

    The exact integral of eps over rho = sigma / alpha, with eps the polynomial in log rho through
    the last three.
    """
    only_ode("deis", eta)
    return of_eps(Walk(process, x, times, 0.0), denoise, x, in_log_sigma, 3)
