"""Multistep consistency sampling: straight to the data, then fresh noise back up."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.ddim import first_order
from inkdrop.diffusion.samplers.step import Step, Walk, levels


def consistency(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """x_s = alpha_s x_0 + sigma_s z, z fresh noise; one call a step. Song et al. 2023, algorithm 1.

    For models whose x_0 is the end of the ODE from any time (`inkdrop distill --steps 1` by
    consistency or training). A plain model predicts the mean of x_0, which gives too narrow a
    distribution. This differs from DDIM at any eta, because x_t enters through x_0 only.
    """
    if eta != 1:
        raise ValueError(
            f"eta is {eta}: consistency draws all noise anew by definition; leave eta at 1 or use"
            " ddim"
        )
    walk = Walk(process, x, times, 0.0)
    walk.c = tuple((0.0, alpha, sigma) for alpha, sigma in levels(process, walk.t)[1:])
    return first_order(walk, denoise, x, noise)
