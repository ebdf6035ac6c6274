"""Training losses: the distribution of training times, loss weights, and the variational bound."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from inkdrop.config import choose
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import Parameterization
from inkdrop.diffusion.process import Process, like

# (process, parameterization, t [B]) -> the weight [B] of the squared error of the network's output
Weight = Callable[[Process, Parameterization, Tensor], Tensor]

GAMMA = 5.0  # the clipping value that Min-SNR recommends


def simple(process: Process, parameterization: Parameterization, t: Tensor) -> Tensor:
    """Weight 1 on the network's own output: for eps, DDPM eq. 14 (L_simple)."""
    return torch.ones_like(t)


def min_snr(process: Process, parameterization: Parameterization, t: Tensor) -> Tensor:
    """min(SNR, 5) on the error of x_0. Hang et al. 2023, section 3.4."""
    snr = process.logsnr(t).exp().clamp(max=GAMMA)
    return snr / parameterization.x0_weight(process, t)


def edm(process: Process, parameterization: Parameterization, t: Tensor) -> Tensor:
    """(sigma^2 + sigma_data^2) / (sigma sigma_data)^2 on the error of x_0; sigma is sigma / alpha.

    EDM, table 1. With EDM's preconditioning this is weight 1 on the network's own output.
    """
    sigma_data = getattr(parameterization, "sigma_data", 0.5)
    per_noise = process.logsnr(t).exp() + sigma_data**-2
    return per_noise / parameterization.x0_weight(process, t)


WEIGHTS: dict[str, Weight] = {"simple": simple, "min_snr": min_snr, "edm": edm}


def uniform_times(process: Process, u: Tensor) -> Tensor:
    """Times [B] from u in [0, 1): uniform over the table's entries 1 ... T or (t_min, t_max]."""
    u = u.double()
    if isinstance(process, Discrete):
        return ((u * process.steps).floor() + 1) / process.steps
    return process.t_max + u * (process.t_min - process.t_max)


def lognormal_times(process: Process, u: Tensor, mean: float = -1.2, std: float = 1.2) -> Tensor:
    """Times [B] with a normal distribution of log(sigma / alpha). EDM, table 1 (P_mean, P_std)."""
    # By the inverse CDF, so that a low-discrepancy u gives times that are just as evenly spread.
    z = torch.special.ndtri(u.double().clamp(1e-7, 1 - 1e-7))
    times = process.time_at(-2 * (mean + std * z))
    return times.clamp(process.t_min, process.t_max)


TIMES: dict[str, Callable[[Process, Tensor], Tensor]] = {
    "uniform": uniform_times,
    "lognormal": lognormal_times,
}


def low_discrepancy(u: Tensor) -> Tensor:
    """[B] numbers in [0, 1): evenly spaced, with one random offset. VDM, appendix I.1."""
    even = torch.arange(len(u), dtype=u.dtype, device=u.device) / len(u)
    return (u[0] + even) % 1


def squared_error(out: Tensor, target: Tensor) -> Tensor:
    """Per-sample mean squared error, [B, ...] -> [B], in at least float32."""
    out = out if out.dtype == torch.float64 else out.float()
    return (out - target.to(out.dtype)).pow(2).flatten(1).mean(1)


def gaussian_kl(mean: Tensor, logvar: Tensor, mean2: Tensor, logvar2: Tensor) -> Tensor:
    """KL(N(mean, e^logvar) || N(mean2, e^logvar2)) for every element, in nats."""
    ratio = (logvar - logvar2).exp()
    return 0.5 * (logvar2 - logvar + ratio - 1 + (mean - mean2) ** 2 * (-logvar2).exp())


def discretised_gaussian(x0: Tensor, mean: Tensor, logstd: Tensor, bins: int = 256) -> Tensor:
    """-log of the mass that N(mean, std^2), std = e^logstd, puts on x0's bin, in nats; [B, ...].

    DDPM eq. 13. There are `bins` bins on [-1, 1]; the outermost extend to infinity. The log mass is
    computed in the nearer tail, so it stays finite far from the mean.
    """
    half = 1 / (bins - 1)
    low = torch.where(x0 - half < -1, -torch.inf, (x0 - half - mean) * (-logstd).exp())
    high = torch.where(x0 + half > 1, torch.inf, (x0 + half - mean) * (-logstd).exp())
    # By symmetry P(low < z < high) = P(-high < z < -low): work in the lower tail.
    flip = low + high > 0
    low, high = torch.where(flip, -high, low), torch.where(flip, -low, high)
    log_high, log_low = torch.special.log_ndtr(high), torch.special.log_ndtr(low)
    # log(P(high) - P(low)); the clamp keeps it finite where both round to the same number.
    log_mass: Tensor = log_high + torch.log1p(-(log_low - log_high).exp().clamp(max=1 - 1e-12))
    return -log_mass


def posterior_logvar(process: Discrete, t: Tensor, fraction: Tensor, x: Tensor) -> Tensor:
    """Log variance between beta-tilde (fraction -1) and beta (1). Improved DDPM eq. 15.

    fraction [B, ...]: the second half of the network's output; t [B]: table entries.
    """
    s = process.previous(t)
    large = -torch.expm1(2 * (process.alpha(t).log() - process.alpha(s).log()))
    small = large * (process.sigma(s) / process.sigma(t)) ** 2
    # beta-tilde is 0 at the first entry, so its log is not finite; as in the paper, the second
    # entry's value replaces it.
    second = torch.full_like(t, 2 / process.steps)
    first = torch.full_like(t, 1 / process.steps)
    floor = -torch.expm1(2 * (process.alpha(second).log() - process.alpha(first).log()))
    floor = floor * (process.sigma(first) / process.sigma(second)) ** 2
    small = torch.where(small > 0, small, floor)
    weight = (fraction + 1) / 2
    return weight * like(large.log(), x) + (1 - weight) * like(small.log(), x)


def bound_term(
    process: Discrete,
    x0: Tensor,
    x: Tensor,
    x0_hat: Tensor,
    t: Tensor,
    logvar: Tensor | None = None,
) -> Tensor:
    """The term L_{t-1} of the variational bound, in bits per dimension [B]. DDPM eq. 5.

    KL(q(x_{t-1} | x_t, x_0) || p(x_{t-1} | x_t)) for table entries t [B] above the first, and
    -log p(x_0 | x_1) under a discretised Gaussian at the first. x0, x, x0_hat [B, ...]: data, x_t
    and the prediction; logvar [B, ...]: the model's log variance (None: beta-tilde).
    """
    s = process.previous(t)
    mean, variance = process.posterior(x, x0, t, s)
    mean_hat, _ = process.posterior(x, x0_hat, t, s)
    if logvar is None:
        logvar = posterior_logvar(process, t, -torch.ones_like(x), x)
    first = (t * process.steps).round() <= 1
    true = like(torch.where(first, torch.ones_like(variance), variance).log(), x)
    kl = gaussian_kl(mean, true, mean_hat, logvar)
    decoder = discretised_gaussian(x0, mean_hat, logvar / 2)
    nats = torch.where(like(first.to(x.dtype), x) > 0, decoder, kl)
    return nats.flatten(1).mean(1) / math.log(2)


def hybrid(
    process: Process,
    parameterization: Parameterization,
    out: Tensor,
    x0: Tensor,
    x: Tensor,
    t: Tensor,
    target: Tensor,
) -> Tensor:
    """L_simple + 0.001 L_vlb for a network that also predicts its variance. Improved DDPM eq. 16.

    out [B, 2C, ...]: the prediction and the fraction of the log variance. As in the paper, L_vlb
    has no gradient in the mean. Returns [B]. ValueError for a continuous process.
    """
    if not isinstance(process, Discrete):
        raise ValueError(
            "loss 'hybrid' needs a discrete table, but"
            f" {type(process).__name__} is continuous; use loss 'simple'"
        )
    prediction, fraction = out.chunk(2, dim=1)
    x0_hat = parameterization.x0(process, prediction.detach(), x, t)
    logvar = posterior_logvar(process, t, fraction.to(x.dtype), x)
    # L_vlb is a sum over the table and t is drawn uniformly: T times one term is unbiased.
    bound = bound_term(process, x0, x, x0_hat, t, logvar) * process.steps
    return squared_error(prediction, target) + 0.001 * bound


LOSSES = (*WEIGHTS, "hybrid")


def loss_weight(name: str) -> Weight:
    """The weighting called `name`; ValueError suggests the nearest name if there is none."""
    return choose("loss", name, WEIGHTS)
