"""The forward process x_t = alpha(t) x_0 + sigma(t) eps, and everything that follows from it.

A process is defined by two functions of time, alpha and sigma. The Markov chain, the posterior, the
DDIM family of steps and the log-SNR (log signal-to-noise ratio) are derived from them here, once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import torch
from torch import Tensor

from inkdrop.arguments import check_fields


def like(c: Tensor, x: Tensor) -> Tensor:
    """Coefficients [B] or [], reshaped to broadcast over x [B, ...]; never below float32."""
    dtype = x.dtype if x.dtype in (torch.float32, torch.float64) else torch.float32
    c = c.to(device=x.device, dtype=dtype)
    return c.view(-1, *([1] * (x.ndim - 1))) if c.ndim else c


def shared(t: Tensor) -> float | None:
    """The time of t [B] as a number if the whole batch shares it, else None.

    Samplers pass such times. Coefficients are then plain numbers, computed once, which matters:
    outside the network, arithmetic on tiny tensors is most of the cost of a sampling loop. The
    check compares no values: a t that was expanded from one element has stride 0. Only on the CPU,
    because reading a number from a GPU would synchronise.
    """
    if not t.is_cpu:
        return None
    if t.numel() == 1:
        return t.item()
    return t[0].item() if t.stride(0) == 0 else None


class Process(ABC):
    """alpha(t) and sigma(t) for t from 0 (data) to t_max (noise), in units of the process's own."""

    t_max: ClassVar[float]

    @abstractmethod
    def alpha(self, t: Tensor) -> Tensor:
        """The factor of x_0 at time t, of t's shape; 1 at t = 0."""

    @abstractmethod
    def sigma(self, t: Tensor) -> Tensor:
        """The standard deviation of the noise at time t, of t's shape; 0 at t = 0."""

    @abstractmethod
    def time_at(self, logsnr: Tensor) -> Tensor:
        """The time of a given log-SNR, any shape: the inverse of the method `logsnr`."""

    @property
    @abstractmethod
    def t_min(self) -> float:
        """The smallest time worth a network call: the last time of a grid before 0."""

    @property
    def t_start(self) -> float:
        """The noisiest time whose log-SNR is finite."""
        return self.t_max

    def logsnr(self, t: Tensor) -> Tensor:
        """log(alpha^2 / sigma^2), of t's shape; infinite where alpha or sigma is 0."""
        # abs, because sigma(0) may come out as -0.0.
        return 2 * (self.alpha(t).log() - self.sigma(t).abs().log())

    def time_feature(self, t: Tensor) -> Tensor:
        """The time as a network's input, of t's shape: 0 to 999, the range of DDPM's embedding."""
        return t * (999.0 / self.t_max)

    def input_scale(self, t: Tensor) -> Tensor:
        """The factor that keeps a network's input near unit variance, of t's shape."""
        return torch.ones_like(t)

    def previous(self, t: Tensor) -> Tensor:
        """The table entry before t; ValueError unless the process is a discrete table."""
        raise ValueError(
            f"{type(self).__name__} is continuous, but the posterior mean between neighbouring"
            " steps exists only for a discrete table; predict eps, x0, v or velocity"
        )

    def check_steps(self, steps: int) -> None:
        """ValueError unless a grid of `steps` steps is possible."""
        if steps < 1:
            raise ValueError(f"steps is {steps}: a grid needs at least 1 step")

    def add_noise(self, x0: Tensor, eps: Tensor, t: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_0) in closed form; x0, eps [B, ...], t [B]. DDPM eq. 4."""
        return like(self.alpha(t), x0) * x0 + like(self.sigma(t), x0) * eps

    def renoise(self, x: Tensor, s: Tensor, t: Tensor, noise: Tensor) -> Tensor:
        """x_t ~ q(x_t | x_s) for s < t: the Markov chain, in a single jump. DDPM eq. 2.

        x, noise [B, ...]; s, t [B] or [].
        """
        ratio = self.alpha(t) / self.alpha(s)
        variance = self.sigma(t) ** 2 - (ratio * self.sigma(s)) ** 2
        return like(ratio, x) * x + like(variance.clamp(min=0).sqrt(), x) * noise

    def coefficients(self, t: Tensor, s: Tensor, eta: float = 0.0) -> tuple[Tensor, Tensor, Tensor]:
        """(c_x, c_x0, c_noise) of `step` for times t and s of any shape. DDIM eq. 12 and 16.

        The posterior q(x_s | x_t, x_0) has variance sigma_s^2 (1 - SNR_t / SNR_s). A share eta^2 of
        it is fresh noise; the rest keeps the direction of the noise in x_t. ValueError unless eta
        is from 0 to 1.
        """
        if not 0 <= eta <= 1:
            raise ValueError(f"eta is {eta}: it must be from 0 (DDIM) to 1 (DDPM)")
        alpha_t, sigma_t, alpha_s, sigma_s = (
            self.alpha(t),
            self.sigma(t),
            self.alpha(s),
            self.sigma(s),
        )
        # expm1 gives 1 - SNR_t / SNR_s without cancellation for small steps.
        fresh = (
            eta**2 * -torch.expm1(self.logsnr(t) - self.logsnr(s)) if eta else torch.zeros_like(t)
        )
        kept = sigma_s / sigma_t * (1 - fresh).clamp(min=0).sqrt()
        return kept, alpha_s - alpha_t * kept, sigma_s * fresh.clamp(min=0).sqrt()

    def step(
        self,
        x: Tensor,
        x0: Tensor,
        t: Tensor,
        s: Tensor,
        eta: float = 0.0,
        noise: Tensor | None = None,
    ) -> Tensor:
        """x_s from x_t and x_0 for s < t: DDIM at eta = 0, q(x_s | x_t, x_0) at eta = 1.

        x, x0, noise [B, ...]; t, s [B] or []; noise: unit Gaussian, required if eta > 0.
        """
        c_x, c_x0, c_noise = self.coefficients(t, s, eta)
        y = like(c_x, x) * x + like(c_x0, x) * x0
        if eta == 0:
            return y
        if noise is None:
            raise ValueError(f"eta is {eta}: a stochastic step needs noise; pass a unit Gaussian")
        return y + like(c_noise, x) * noise

    def posterior(self, x: Tensor, x0: Tensor, t: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Mean [B, ...] and variance [B] of q(x_s | x_t, x_0), s < t. DDPM eq. 6 and 7."""
        c_x, c_x0, c_noise = self.coefficients(t, s, eta=1.0)
        return like(c_x, x) * x + like(c_x0, x) * x0, c_noise**2

    def eps(self, x: Tensor, x0: Tensor, t: Tensor) -> Tensor:
        """The noise in x_t, given x_0; [B, ...]. DDPM eq. 9, solved for eps; sigma(t) > 0."""
        return (x - like(self.alpha(t), x) * x0) / like(self.sigma(t), x)


@lru_cache(maxsize=256)
def lambdas(process: Process, times: tuple[float, ...]) -> tuple[float, ...]:
    """lambda = log(alpha / sigma), half the log-SNR; infinite where sigma or alpha is 0."""
    return tuple((process.logsnr(torch.tensor(times, dtype=torch.float64)) / 2).tolist())


@dataclass(frozen=True)
class VP(Process):
    """The variance-preserving SDE with beta(t) linear from beta_min to beta_max, t in [0, 1].

    Song et al. 2021 (score SDE), eq. 32-33: log alpha = -t^2 (b1 - b0) / 4 - t b0 / 2.
    """

    beta_min: float = 0.1
    beta_max: float = 20.0

    t_max: ClassVar[float] = 1.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.beta_min < self.beta_max:
            raise ValueError(
                f"beta_min is {self.beta_min} but must be above 0 and below beta_max,"
                f" {self.beta_max}"
            )

    @property
    def t_min(self) -> float:
        return 1e-3

    def _log_alpha(self, t: Tensor) -> Tensor:
        return -(t**2) * ((self.beta_max - self.beta_min) / 4) - t * (self.beta_min / 2)

    def alpha(self, t: Tensor) -> Tensor:
        return self._log_alpha(t).exp()

    def sigma(self, t: Tensor) -> Tensor:
        return (-torch.expm1(2 * self._log_alpha(t))).clamp(min=0).sqrt()

    def time_at(self, logsnr: Tensor) -> Tensor:
        # decay = -2 log alpha, which is quadratic in t. torch's softplus would do, but it becomes
        # exactly linear beyond 20.
        decay = torch.logaddexp(-logsnr, torch.zeros_like(logsnr))
        slope = self.beta_max - self.beta_min
        return 2 * decay / (self.beta_min + (self.beta_min**2 + 2 * slope * decay).sqrt())


@dataclass(frozen=True)
class VE(Process):
    """The variance-exploding process of EDM: alpha = 1 and t is sigma itself, up to sigma_max."""

    sigma_min: float = 0.002
    sigma_max: float = 80.0

    def __post_init__(self) -> None:
        check_fields(self)
        if not 0 < self.sigma_min < self.sigma_max:
            raise ValueError(
                f"sigma_min is {self.sigma_min} but must be above 0 and below sigma_max,"
                f" {self.sigma_max}"
            )

    @property
    def t_max(self) -> float:  # type: ignore[override]
        return self.sigma_max

    @property
    def t_min(self) -> float:
        return self.sigma_min

    def alpha(self, t: Tensor) -> Tensor:
        return torch.ones_like(t)

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time_at(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2).exp()

    def time_feature(self, t: Tensor) -> Tensor:
        # EDM's c_noise = log(sigma) / 4, times 1000 to match the range of the sinusoidal
        # embedding; the clamp keeps the feature finite at t = 0.
        return 250 * t.clamp(min=self.sigma_min / 2).log()

    def input_scale(self, t: Tensor) -> Tensor:
        return (1 + t**2).rsqrt()


@dataclass(frozen=True)
class Flow(Process):
    """Rectified flow: the straight line x_t = (1 - t) x_0 + t eps, t in [0, 1]. Liu et al. 2022."""

    t_max: ClassVar[float] = 1.0

    @property
    def t_min(self) -> float:
        return 1e-3

    @property
    def t_start(self) -> float:
        return 1 - 1e-3  # at t = 1, alpha is 0 and log-SNR infinite

    def alpha(self, t: Tensor) -> Tensor:
        return 1 - t

    def sigma(self, t: Tensor) -> Tensor:
        return t

    def time_at(self, logsnr: Tensor) -> Tensor:
        return (-logsnr / 2).sigmoid()
