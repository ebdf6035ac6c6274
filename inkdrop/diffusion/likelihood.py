"""Likelihood in bits per dimension, from the variational bound."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.arguments import fitting
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser, VarianceDenoiser
from inkdrop.diffusion.losses import bound_term, gaussian_kl, posterior_logvar
from inkdrop.diffusion.process import like


@dataclass(frozen=True)
class Bound:
    """The variational bound of a batch, in bits per dimension: L_T + sum of L_t + L_0. DDPM eq. 5.

    prior: L_T [B]; terms [B, T]: terms[:, 0] is L_0 (the discretised Gaussian), terms[:, i] the KL
    divergence between entries i + 1 and i.
    """

    prior: Tensor
    terms: Tensor

    @property
    def total(self) -> Tensor:
        """Bits per dimension [B], an upper bound on -log2 p(x_0) / dimensions."""
        return self.prior + self.terms.sum(1)


def bits_per_dimension(
    process: Discrete,
    denoise: Denoiser | VarianceDenoiser,
    x0: Tensor,
    noise: Callable[[int], Tensor],
) -> Bound:
    """The bound for data x0 [B, ...] in [-1, 1] with 256 levels; T network calls.

    noise(i): the unit Gaussian [B, ...] in x_i. The variance is the one the denoiser predicts, or
    beta-tilde if it predicts none. ValueError for a continuous process or zero terminal SNR.
    """
    if not isinstance(process, Discrete):
        raise ValueError(
            "the variational bound is a sum over a discrete table, but"
            f" {type(process).__name__} is continuous; use ode_likelihood"
        )
    if process.zero_terminal_snr:
        raise ValueError(
            "zero_terminal_snr is True, which makes the last term of the bound infinite; measure"
            " a model with zero_terminal_snr False"
        )
    if x0.ndim < 2:
        raise ValueError(f"x0 has shape {list(x0.shape)}; give data [B, ...]")
    terms = []
    for i in range(1, process.steps + 1):
        t = torch.full((len(x0),), i / process.steps, dtype=torch.float64, device=x0.device)
        x = process.add_noise(x0, fitting("noise", noise(i), x0), t)
        said = denoise(x, t)
        x0_hat, fraction = said if isinstance(said, tuple) else (said, None)
        fitting("the denoiser", x0_hat, x)
        logvar = None if fraction is None else posterior_logvar(process, t, fraction, x)
        terms.append(bound_term(process, x0, x, x0_hat, t, logvar))
    return Bound(prior_bits(process, x0), torch.stack(terms, 1))


def prior_bits(process: Discrete, x0: Tensor) -> Tensor:
    """L_T = KL(q(x_T | x_0) || N(0, 1)) in bits per dimension [B]."""
    end = torch.ones(len(x0), dtype=torch.float64, device=x0.device)
    mean = like(process.alpha(end), x0) * x0
    logvar = like(2 * process.sigma(end).log(), x0).expand_as(x0)
    zero = torch.zeros_like(x0)
    return gaussian_kl(mean, logvar, zero, zero).flatten(1).mean(1) / math.log(2)
