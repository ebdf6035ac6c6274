"""What a network predicts and how it maps to x_0: eps, x_0, v, mean, velocity, score, EDM.

In each, x_0 = a(t) x_t + b(t) output, so any two convert through x_0. A network's low-precision
output is cast here (`Model.denoise` calls `x0`) and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from inkdrop.arguments import check_fields
from inkdrop.diffusion.process import Process, like, shared


class Parameterization(ABC):
    """The meaning of a network's output for a process."""

    @abstractmethod
    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """The training target [B, ...] for data x0 and noise eps [B, ...] at time t [B]."""

    @abstractmethod
    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        """(a, b) of x_0 = a x_t + b output, each of t's shape; ValueError where undefined."""

    def scales(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        """(factor of x_t, time feature) for the network's inputs, each of t's shape."""
        return process.input_scale(t), process.time_feature(t)

    def inputs(self, process: Process, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        """The network's inputs: the scaled x [B, ...] and the time feature [B]."""
        if (now := shared(t)) is not None:
            scale, feature = _numbers(self.scales, process, now)
            seen = x if scale == 1 else x * scale
            return seen, torch.full((len(x),), feature, device=x.device)
        factor, features = self.scales(process, t)
        return like(factor, x) * x, features.to(x.device)

    def x0(self, process: Process, out: Tensor, x: Tensor, t: Tensor) -> Tensor:
        """x_0 [B, ...] from the network's output and x_t, computed in the dtype of x."""
        if (now := shared(t)) is not None:
            slope, gain = _numbers(self.affine, process, now)
            wide = out if out.dtype == x.dtype else out.to(x.dtype)
            return (x * slope).add_(wide, alpha=gain)
        a, b = self.affine(process, t)
        return like(a, x) * x + like(b, x) * out.to(x.dtype)

    def x0_weight(self, process: Process, t: Tensor) -> Tensor:
        """The weight [B] that turns a squared error of x_0 into one of the network's output."""
        return self.affine(process, t)[1].double() ** -2


@lru_cache(maxsize=8192)
def _numbers(
    pair: Callable[[Process, Tensor], tuple[Tensor, Tensor]], process: Process, t: float
) -> tuple[float, float]:
    """The result of a parameterization's `affine` or `scales` at one time, as plain numbers."""
    first, second = pair(process, torch.tensor(t, dtype=torch.float64))
    return first.item(), second.item()


def _divide(value: Tensor, by: Tensor, name: str) -> Tensor:
    if bool((by == 0).any()):
        raise ValueError(
            f"x_0 cannot be recovered from {name} where alpha or sigma is 0, at the pure-noise end"
            " of this process; predict v, velocity or x0, or start below t_max"
        )
    return value / by


@dataclass(frozen=True)
class Eps(Parameterization):
    """The noise itself. DDPM eq. 11: x_0 = (x_t - sigma eps) / alpha."""

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return eps

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        a = _divide(torch.ones_like(t), process.alpha(t), "eps")
        return a, -process.sigma(t) * a


@dataclass(frozen=True)
class X0(Parameterization):
    """The data itself."""

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return x0

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        return torch.zeros_like(t), torch.ones_like(t)


@dataclass(frozen=True)
class V(Parameterization):
    """v = alpha eps - sigma x_0. Salimans & Ho 2022 (progressive distillation), section 4.

    x_0 = (alpha x_t - sigma v) / (alpha^2 + sigma^2); the denominator is 1 for VP.
    """

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return like(process.alpha(t), x0) * eps - like(process.sigma(t), x0) * x0

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        norm = alpha**2 + sigma**2
        return alpha / norm, -sigma / norm


@dataclass(frozen=True)
class Velocity(Parameterization):
    """u = eps - x_0, the velocity dx/dt of rectified flow (Liu et al. 2022, eq. 1).

    For any process x_0 = (x_t - sigma u) / (alpha + sigma), which is finite everywhere.
    """

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return eps - x0

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = process.alpha(t), process.sigma(t)
        return 1 / (alpha + sigma), -sigma / (alpha + sigma)


@dataclass(frozen=True)
class Score(Parameterization):
    """The score, grad log q(x_t) = -eps / sigma. Song et al. 2021 (score SDE)."""

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        return -eps / like(process.sigma(t), eps)

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        a = _divide(torch.ones_like(t), process.alpha(t), "the score")
        return a, process.sigma(t) ** 2 * a


@dataclass(frozen=True)
class Mean(Parameterization):
    """The mean of q(x_{t-1} | x_t, x_0) between neighbouring entries of a table. DDPM eq. 7."""

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        x = process.add_noise(x0, eps, t)
        return process.posterior(x, x0, t, process.previous(t))[0]

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        c_x, c_x0, _ = process.coefficients(t, process.previous(t), eta=1.0)
        return -c_x / c_x0, 1 / c_x0


@dataclass(frozen=True)
class EDM(Parameterization):
    """Preconditioning that keeps input, target and error near unit variance. EDM, table 1.

    x_0 = c_skip x_t + c_out F(c_in x_t, c_noise), generalised to any alpha and sigma; alpha = 1
    gives the paper's. The time feature is 1000 c_noise = 250 log(sigma / alpha), to match the range
    of the sinusoidal embedding. sigma_data: standard deviation of the data, above 0.
    """

    sigma_data: float = 0.5

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.sigma_data > 0:
            raise ValueError(f"sigma_data is {self.sigma_data}: the data's spread must be above 0")

    def _variance(self, process: Process, t: Tensor) -> Tensor:
        return process.alpha(t) ** 2 * self.sigma_data**2 + process.sigma(t) ** 2

    def scales(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        # log(sigma / alpha) = -logsnr / 2. The clamp keeps it finite at pure noise and pure data.
        feature = -125 * process.logsnr(t).clamp(-40, 40)
        return self._variance(process, t).rsqrt(), feature

    def target(self, process: Process, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        # (x_0 - c_skip x_t) / c_out with common factors cancelled, so sigma = 0 needs no division.
        alpha, sigma = process.alpha(t), process.sigma(t)
        norm = self.sigma_data * self._variance(process, t).sqrt()
        return like(sigma / norm, x0) * x0 - like(alpha * self.sigma_data**2 / norm, x0) * eps

    def affine(self, process: Process, t: Tensor) -> tuple[Tensor, Tensor]:
        variance = self._variance(process, t)
        a = process.alpha(t) * self.sigma_data**2 / variance
        return a, process.sigma(t) * self.sigma_data * variance.rsqrt()


def convert(
    process: Process,
    value: Tensor,
    x: Tensor,
    t: Tensor,
    source: Parameterization,
    to: Parameterization,
) -> Tensor:
    """The same prediction in another parameterization; value, x [B, ...], t [B], sigma(t) > 0."""
    x0 = source.x0(process, value, x, t)
    return to.target(process, x0, process.eps(x, x0, t), t)
