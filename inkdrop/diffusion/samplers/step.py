"""What every sampler yields, what they share, and the check that every state is finite."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Protocol

import torch
from torch import Tensor

from inkdrop.arguments import fitting
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas


@dataclass(frozen=True)
class Step:
    """The state after one step of a run.

    index: from 0; total: number of steps of the run (None: unknown); t: the time reached
    x: the state [B, ...] at t, which is the sample after the last step
    x0: the network's prediction [B, ...] that the step used
    """

    index: int
    total: int | None
    t: float
    x: Tensor = field(repr=False)
    x0: Tensor = field(repr=False)


class Sampler(Protocol):
    """The signature of every fixed-grid sampler.

    x [B, ...]: the state at times[0]; times: float64 [steps + 1], decreasing. Yields a Step after
    each step. ValueError for an eta the sampler does not support, before the first network call;
    FloatingPointError for a state that is not finite.
    """

    def __call__(
        self,
        process: Process,
        denoise: Denoiser,
        x: Tensor,
        times: Tensor,
        *,
        eta: float = 0.0,
        noise: Noise | None = None,
    ) -> Iterator[Step]: ...


@lru_cache(maxsize=256)
def legs(
    process: Process, starts: tuple[float, ...], ends: tuple[float, ...], eta: float = 0.0
) -> tuple[tuple[float, float, float], ...]:
    """(c_x, c_x0, c_noise) of `process.step` from each start to its end, as plain numbers.

    Pure and cached, so all runs on one grid share the result.
    """
    t, s = (torch.tensor(times, dtype=torch.float64) for times in (starts, ends))
    columns = process.coefficients(t, s, eta)
    return tuple(zip(*(column.tolist() for column in columns), strict=True))


@lru_cache(maxsize=256)
def levels(process: Process, times: tuple[float, ...]) -> tuple[tuple[float, float], ...]:
    """(alpha, sigma) at each time, as plain numbers."""
    t = torch.tensor(times, dtype=torch.float64)
    return tuple(zip(process.alpha(t).tolist(), process.sigma(t).tolist(), strict=True))


def times_at(process: Process, values: Sequence[float]) -> tuple[float, ...]:
    """The times at these finite values of lambda."""
    return tuple(process.time_at(2 * torch.tensor(values, dtype=torch.float64)).tolist())


def move(leg: tuple[float, float, float], x: Tensor, x0: Tensor) -> Tensor:
    """The deterministic part of a step: c_x x + c_x0 x_0."""
    fitting("the denoiser", x0, x)
    return (x * leg[0]).add_(x0, alpha=leg[1])


def noise_in(process: Process, x: Tensor, x0: Tensor, t: float) -> Tensor:
    """eps [B, ...] in x at time t, given x_0; sigma(t) must not be 0."""
    ((alpha, sigma),) = levels(process, (t,))
    return torch.sub(x, x0, alpha=alpha).div_(sigma)


def along(process: Process, x: Tensor, eps: Tensor, t: float, s: float) -> Tensor:
    """x at time s if eps is constant on the way from t; alpha(t) must not be 0."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(process, (t, s))
    ratio = alpha_s / alpha_t
    return (x * ratio).add_(eps, alpha=sigma_s - ratio * sigma_t)


def climb(
    process: Process, x: Tensor, s: float, t: float, noise: Noise | None, k: int = 0
) -> Tensor:
    """x at the noisier time t >= s, with fresh noise number k: `process.renoise`."""
    if t == s:
        return x
    (alpha_s, sigma_s), (alpha_t, sigma_t) = levels(process, (s, t))
    ratio = alpha_t / alpha_s
    spread = math.sqrt(max(sigma_t**2 - (ratio * sigma_s) ** 2, 0.0))
    return (x * ratio).add_(drawn(noise, s, t, k), alpha=spread)


def only_ode(name: str, eta: float) -> None:
    """ValueError unless eta is 0, for a sampler that draws no noise."""
    if eta:
        raise ValueError(f"eta is {eta}: {name} is deterministic; use ddim or ddpm for fresh noise")


def ode_or_sde(name: str, eta: float) -> None:
    """ValueError unless eta is 0 or 1, the two values for which a sampler's order is known."""
    if eta not in (0.0, 1.0):
        raise ValueError(f"eta is {eta}: {name} is defined only for 0 (ODE) and 1 (SDE)")


def below(process: Process, t: float, s: float, eta: float) -> float:
    """The time from which the noise of DDIM's eta leads back up to s; s itself if eta is 0.

    With sigma for sigma / alpha: sigma_up = eta sigma_s sqrt(1 - SNR_t / SNR_s), and the result is
    the time of sigma_down^2 = sigma_s^2 - sigma_up^2. It is 0 if all noise is fresh.
    """
    if eta == 0 or s == 0:
        return s
    at_t, at_s = lambdas(process, (t, s))
    kept = 1 + eta**2 * math.expm1(2 * (at_t - at_s))
    return 0.0 if kept <= 0 else times_at(process, [at_s - math.log(kept) / 2])[0]


def drawn(noise: Noise | None, t: float, s: float, k: int = 0) -> Tensor:
    """The noise [B, ...] of an interval; ValueError if there is no source of noise."""
    if noise is None:
        raise ValueError(
            "a stochastic step (eta above 0) needs a source of noise; pass `noise`, such as a"
            " SeededNoise"
        )
    return noise(t, s, k)


class Walk:
    """A grid prepared for a loop: times as numbers, as [B] tensors, and c_x, c_x0, c_noise.

    All samples share the time, so everything that depends on it is a plain number. The [B] tensors
    stay on the CPU, where reading them needs no synchronisation with a GPU.

    ValueError for a grid that does not decrease or leaves the range of the process.
    """

    def __init__(self, process: Process, x: Tensor, times: Tensor, eta: float) -> None:
        if times.ndim != 1 or len(times) < 2 or not bool((times[1:] < times[:-1]).all()):
            raise ValueError(
                f"times is {times.tolist()}; a grid must be a decreasing sequence of at least two"
                " times"
            )
        if x.ndim < 1 or not x.is_floating_point():
            kind = str(x.dtype).removeprefix("torch.")
            raise ValueError(
                f"x is {kind} {list(x.shape)}; give floating-point numbers [B, C, ...]"
            )
        exact = times.detach().double().cpu()
        self.t: tuple[float, ...] = tuple(exact.tolist())
        if self.t[0] > process.t_max or self.t[-1] < 0:
            raise ValueError(
                f"the grid runs from {self.t[0]:g} to {self.t[-1]:g}; keep it within the range of"
                f" the process, 0 to {process.t_max:g}"
            )
        self.total = len(times) - 1
        self.now = exact.unsqueeze(1).expand(-1, x.shape[0]).unbind(0)
        self.process = process
        self.c = legs(process, self.t[:-1], self.t[1:], eta)

    def step(self, i: int, x: Tensor, x0: Tensor, noise: Noise | None) -> Tensor:
        """x [B, ...] at the grid's next time: `process.step` as three multiply-adds."""
        c_noise = self.c[i][2]
        y = move(self.c[i], x, x0)
        if c_noise:
            fresh = drawn(noise, self.t[i], self.t[i + 1])
            y.add_(fitting("noise", fresh, x), alpha=c_noise)
        return y

    def moments(self, values: Sequence[float]) -> list[Tensor]:
        """Times that are not on the grid, as [B] tensors for a denoiser."""
        exact = torch.tensor(values, dtype=torch.float64)
        return list(exact.unsqueeze(1).expand(-1, self.now[0].shape[0]).unbind(0))

    def done(self, i: int, x: Tensor, x0: Tensor) -> Step:
        """The Step that ends at times[i + 1]; FloatingPointError if its state is not finite."""
        return finite(Step(i, self.total, self.t[i + 1], x, x0), self.t[i])


def finite(step: Step, t: float) -> Step:
    """The step that began at time t; FloatingPointError if its state is not finite."""
    # A sum costs a third of isfinite().all() and is finite only if all terms are; the second check
    # rules out a sum that overflowed.
    if not math.isfinite(step.x.sum().item()) and not bool(step.x.isfinite().all()):
        part = "state" if bool(step.x0.isfinite().all()) else "network's prediction of x0"
        number = f"{step.index + 1} of {step.total}" if step.total else f"{step.index + 1}"
        raise FloatingPointError(
            f"step {number} (t = {t:g} to {step.t:g}): the {part} is not finite; try float32, a"
            " lower guidance scale or more steps, or get the model again: its weights may be"
            " damaged"
        )
    return step
