"""Likelihood from the probability-flow ODE, with an estimate of its discretisation error."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.process import Process

# (y [B, ...], u) -> (dy/du [B, ...], d log p / du [B, probes])
Flow = Callable[[Tensor, float], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Likelihood:
    """Bits per dimension [B] with their uncertainties, each [B].

    probe_error: standard error due to the random probes of the trace, 0 if the trace is exact;
    step_error: difference to the result with half as many steps, an upper estimate of the
    discretisation error.
    """

    bits: Tensor
    probe_error: Tensor
    step_error: Tensor


def ode_likelihood(
    process: Process,
    denoise: Denoiser,
    x0: Tensor,
    *,
    steps: int = 32,
    probes: int | None = 4,
    seed: int = 0,
    levels: int | None = 256,
) -> Likelihood:
    """-log2 p(x_0) / dimensions of data x0 [B, ...] in [-1, 1]. Song et al. 2021, eq. 39.

    With y = x / alpha and u = log(sigma / alpha): dy/du = y - x_0 and, by the change of variables,
    d log p/du = -(D - tr dx_0/dy). The integral runs from t_min, where p is the marginal and its
    noise is far below one level, to the noisiest time of finite log-SNR, where p is
    N(0, sigma^2 / alpha^2). It uses fourth-order Runge-Kutta on `steps` equal parts of u, and on
    half as many for the error: 6 * steps network calls, each with its derivatives. The denoiser
    must be differentiable in x.

    probes: number of Rademacher vectors for Hutchinson's trace estimator (at least 2; None: the
    exact trace, with D derivatives per call)
    levels: number of levels of discrete data, which is dequantised with uniform noise keyed by
        seed, so the result is in bits of the discrete data (None: x0 is continuous, and the
        result is in bits of its density)
    ValueError for an odd number of steps or a single probe.
    """
    if steps < 2 or steps % 2:
        raise ValueError(
            f"steps is {steps}: give an even number, since the error is estimated with half as many"
        )
    if probes is not None and probes < 2:
        raise ValueError(
            f"probes is {probes}: give at least 2, for a standard error, or None for the exact"
            " trace"
        )
    y = x0.detach()
    if levels is not None:
        y = _dequantised(y, levels, seed)
    flow = _flow(process, denoise, _probes(y, probes, seed))
    fine, coarse = (_log_density(process, flow, y, n) for n in (steps, steps // 2))
    unit = -1 / (math.log(2) * y[0].numel())
    # A level is 2 / (levels - 1) wide, so this turns a density into one per level.
    shift = 0.0 if levels is None else math.log2((levels - 1) / 2)
    bits = fine.mean(1) * unit + shift
    spread = torch.zeros_like(bits)
    if probes is not None:
        spread = fine.std(1) * abs(unit) / math.sqrt(probes)
    return Likelihood(bits, spread, ((fine - coarse).mean(1) * unit).abs())


def _dequantised(x0: Tensor, levels: int, seed: int) -> Tensor:
    """Data [B, ...] with uniform noise as wide as one level, keyed by the seed and the row."""
    rows = [torch.rand(x0.shape[1:], generator=generator(seed, "level", i)) for i in range(len(x0))]
    return x0 + (torch.stack(rows).to(x0) - 0.5) * 2 / (levels - 1)


def _probes(y: Tensor, probes: int | None, seed: int) -> Tensor:
    """Probes e [K, B, ...] for which tr J is the mean of e J e: axes times sqrt(D), or signs."""
    shape = y.shape[1:]
    if probes is None:
        axes = torch.eye(shape.numel(), dtype=y.dtype, device=y.device).view(-1, 1, *shape)
        return axes.expand(-1, len(y), *shape) * math.sqrt(shape.numel())
    signs = [
        torch.stack([
            torch.randint(0, 2, shape, generator=generator(seed, "probe", i, k)) * 2.0 - 1
            for i in range(len(y))
        ])
        for k in range(probes)
    ]  # fmt: skip
    return torch.stack(signs).to(y)


def _flow(process: Process, denoise: Denoiser, probes: Tensor) -> Flow:
    dims = probes[0, 0].numel()

    def flow(y: Tensor, u: float) -> tuple[Tensor, Tensor]:
        t = process.time_at(torch.tensor([-2 * u], dtype=torch.float64)).expand(len(y))
        alpha = float(process.alpha(t[:1]))
        with torch.enable_grad():
            seen = y.detach().requires_grad_()
            x0 = denoise(seen * alpha, t)
            traces = []
            for k, probe in enumerate(probes):
                more = k < len(probes) - 1
                (row,) = torch.autograd.grad(x0, seen, probe, retain_graph=more)
                traces.append((row * probe).flatten(1).sum(1).double())
        return (y - x0.detach()), torch.stack(traces, 1) - dims

    return flow


def _log_density(process: Process, flow: Flow, x0: Tensor, steps: int) -> Tensor:
    """log p(x_0) [B, probes], float64, by `steps` fourth-order Runge-Kutta steps."""
    ends = torch.tensor([process.t_min, process.t_start], dtype=torch.float64)
    low, high = (-process.logsnr(ends) / 2).tolist()
    h = (high - low) / steps
    y, gained = x0, torch.zeros(len(x0), 1, dtype=torch.float64, device=x0.device)
    for i in range(steps):
        u = low + i * h
        a, p = flow(y, u)
        b, q = flow(y + a * (h / 2), u + h / 2)
        c, r = flow(y + b * (h / 2), u + h / 2)
        d, s = flow(y + c * h, u + h)
        y = y + (a + 2 * b + 2 * c + d) * (h / 6)
        gained = gained - (p + 2 * q + 2 * r + s) * (h / 6)
    flat = y.double().flatten(1)
    dims = flat.shape[1]
    squared = flat.square().sum(1, keepdim=True) * math.exp(-2 * high)
    prior: Tensor = -0.5 * (squared + dims * math.log(2 * math.pi)) - dims * high
    return prior + gained
