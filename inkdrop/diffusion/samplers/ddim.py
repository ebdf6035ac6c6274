"""DDIM and Euler: the first-order step."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Step, Walk, only_ode


def ddim(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DDIM, order 1, one call per step; eta from 0 (deterministic) to 1 (DDPM).

    Song et al. 2021, eq. 12. x [B, ...]: the state at times[0]; times: a grid as `grid` returns it.
    """
    return first_order(Walk(process, x, times, eta), denoise, x, noise)


def first_order(
    walk: Walk, denoise: Denoiser, x: Tensor, noise: Noise | None = None
) -> Iterator[Step]:
    """`process.step` from each time of the walk to the next, with the prediction as it is."""
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        x = walk.step(i, x, x0, noise)
        yield walk.done(i, x, x0)


def euler(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Euler's rule on d(x / alpha) / d(sigma / alpha) = eps (EDM eq. 1): DDIM at eta = 0."""
    only_ode("euler", eta)
    return ddim(process, denoise, x, times)


def euler_a(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Euler ancestral: Euler's rule to sigma_down, then noise of sigma_up. The same as DDIM's step.

    In scaled coordinates sigma_up^2 = eta^2 sigma_s^2 (1 - sigma_s^2 / sigma_t^2) is the variance
    of DDIM eq. 16, and sigma_down^2 = sigma_s^2 - sigma_up^2 the rest.
    """
    return ddim(process, denoise, x, times, eta=eta, noise=noise)
