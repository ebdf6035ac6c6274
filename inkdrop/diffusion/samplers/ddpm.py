"""DDPM ancestral sampling, with either of its fixed variances or a learned one."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser, VarianceDenoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.ddim import ddim, first_order
from inkdrop.diffusion.samplers.step import Step, Walk, drawn, levels, move


def ddpm(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Ancestral sampling from q(x_s | x_t, x_0) with variance beta-tilde. DDPM, algorithm 2."""
    _only_1("ddpm", eta)
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

    This is ddpm's step with the noise scaled by sigma_t / sigma_s; the last step, to 0, adds none.
    """
    _only_1("ddpm_beta", eta)
    walk = Walk(process, x, times, 1.0)
    sigma = [at_t for _, at_t in levels(process, walk.t)]
    walk.c = tuple(
        (c_x, c_x0, c_noise and c_noise * sigma[i] / sigma[i + 1])
        for i, (c_x, c_x0, c_noise) in enumerate(walk.c)
    )
    return first_order(walk, denoise, x, noise)


def ddpm_learned(
    process: Process,
    denoise: Denoiser | VarianceDenoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """Ancestral sampling with the network's predicted variance. Improved DDPM, eq. 15.

    `denoise` also returns the fraction, -1 to 1, of the way from log beta-tilde to log beta; both
    are computed for the actual step, which may span several table entries. The last step, to 0,
    adds no noise. ValueError for a denoiser without variance.
    """
    _only_1("ddpm_learned", eta)
    walk = Walk(process, x, times, 1.0)
    sigma = [at_t for _, at_t in levels(process, walk.t)]
    for i in range(walk.total):
        said = denoise(x, walk.now[i])
        if not isinstance(said, tuple):
            raise ValueError(
                "ddpm_learned needs a network that predicts its variance, and this one does not;"
                " use ddpm"
            )
        x0, fraction = said
        x = move(walk.c[i], x, x0)
        if small := walk.c[i][2]:
            # In log std, beta lies log(sigma_t / sigma_s) above beta-tilde (`small`), and fraction
            # 0 is the middle.
            apart = math.log(sigma[i] / sigma[i + 1]) / 2
            spread = (fraction * apart + (math.log(small) + apart)).exp_()
            x = torch.addcmul(x, drawn(noise, walk.t[i], walk.t[i + 1]), spread)
        yield walk.done(i, x, x0)


def _only_1(name: str, eta: float) -> None:
    if eta != 1:
        raise ValueError(f"eta is {eta}: {name} is eta = 1 by definition; use ddim for another eta")
