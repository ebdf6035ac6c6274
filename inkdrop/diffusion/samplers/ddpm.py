"""DDPM ancestral sampling, with both of its variances."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.ddim import ddim, first_order
from inkdrop.diffusion.samplers.step import Step, Walk


def ddpm(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Ancestral sampling from q(x_s | x_t, x_0), variance beta-tilde. DDPM, algorithm 2."""
    if eta != 1:
        raise ValueError(f"eta is {eta}: ddpm is eta = 1 by definition; use ddim for another eta")
    return ddim(process, denoise, x, times, eta=1.0, noise=noise)


def ddpm_beta(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Ancestral sampling with the larger variance beta_t (Ho et al. 2020, section 3.2).

    The step is ddpm's with its noise times sigma_t / sigma_s; the last step, to 0, adds none.
    """
    if eta != 1:
        raise ValueError(
            f"eta is {eta}: ddpm_beta is eta = 1 by definition; use ddim for another eta"
        )
    walk = Walk(process, x, times, 1.0)
    sigma = process.sigma(times.double().cpu()).tolist()
    walk.c = tuple(
        (c_x, c_x0, c_noise and c_noise * sigma[i] / sigma[i + 1])
        for i, (c_x, c_x0, c_noise) in enumerate(walk.c)
    )
    return first_order(walk, denoise, x, noise)
