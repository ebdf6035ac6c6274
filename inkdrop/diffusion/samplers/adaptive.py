"""Adaptive step sizes: each sample takes steps as large as its error estimate allows."""

from __future__ import annotations

import math
from collections.abc import Generator, Iterator

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas, like
from inkdrop.diffusion.samplers.step import Step, Walk, finite, only_ode

# The first step in lambda; then the usual controller: h <- h * clamp(0.9 error^(-1/3), 0.2, 5).
FIRST, SAFETY, SLOWEST, FASTEST = 0.05, 0.9, 0.2, 5.0
MOST = 10_000  # steps, accepted or not, before giving up


def adaptive(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
    tolerance: float = 0.002,
) -> Iterator[Step]:
    """DPM-Solver++ of orders 2 and 3 as an embedded pair; three calls per step, accepted or not.

    Lu et al. 2022 (DPM-Solver), appendix C, with x_0 as in DPM-Solver++(3S). A step is accepted if
    the two results differ by at most `tolerance` (root mean square, in units of max(1, |x|)). Only
    the ends of `times` matter. Each sample has its own step sizes, so it is the same in any batch;
    Step.t is the time of the slowest sample. Where log-SNR is infinite at an end, the grid's first
    or last step is taken as it is. FloatingPointError if 10,000 steps do not suffice.
    """
    only_ode("adaptive", eta)
    if not tolerance > 0:
        raise ValueError(f"tolerance is {tolerance}: it must be above 0")
    walk = Walk(process, x, times, 0.0)
    level = lambdas(process, walk.t)
    index, last = 0, walk.total - 1 if walk.t[-1] == 0 else walk.total
    first = 0
    if level[0] == -math.inf:
        x0 = denoise(x, walk.now[0])
        x, first, index = walk.step(0, x, x0, None), 1, 1
        yield finite(Step(0, None, walk.t[1], x, x0), walk.t[0])
    x, index = yield from _march(process, denoise, x, (level[first], level[last]), tolerance, index)
    if last < walk.total:
        x0 = denoise(x, walk.now[last])
        x = walk.step(last, x, x0, None)
        yield finite(Step(index, None, 0.0, x, x0), walk.t[last])


def _march(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    span: tuple[float, float],
    tolerance: float,
    index: int,
) -> Generator[Step, None, tuple[Tensor, int]]:
    """From one lambda to another, both finite: the last x, and the number of the next Step."""
    first, end = span
    now = torch.full((len(x),), first, dtype=torch.float64)
    size = torch.full_like(now, min(FIRST, end - first))
    for _ in range(MOST):
        if not bool((now < end).any()):
            return x, index
        size = torch.minimum(size, end - now)
        y, low, x0 = pair(process, denoise, x, now, size)
        error = _error(x, y, low) / tolerance
        going = now < end
        accepted = going & (error <= 1)
        now = torch.where(accepted, torch.where(now + size > end - 1e-9, end, now + size), now)
        x = torch.where(like(accepted, x) > 0, y, x)
        # The second-order error grows like size^3, hence the exponent -1/3.
        factor = SAFETY * error.clamp(min=1e-12) ** (-1 / 3)
        size = torch.where(going, size * factor.clamp(SLOWEST, FASTEST), size)
        if bool(accepted.any()):
            slowest = process.time_at(2 * now.min()).item()
            yield finite(Step(index, None, slowest, x, x0), slowest)
            index += 1
        elif not bool(error[going].isfinite().all()):
            finite(Step(index, None, 0.0, y, x0), process.time_at(2 * now.min()).item())
    raise FloatingPointError(
        f"{MOST:,} steps did not reach the end at a tolerance of {tolerance}; raise the tolerance"
    )


def _error(x: Tensor, y: Tensor, low: Tensor) -> Tensor:
    """Root mean square difference [B] of the pair, in units of max(1, |x|)."""
    scale = torch.maximum(x.abs(), y.abs()).clamp(min=1)
    return ((y - low) / scale).double().square().flatten(1).mean(1).sqrt().cpu()


def pair(
    process: Process, denoise: Denoiser, x: Tensor, start: Tensor, size: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """x [B, ...] after a step of `size` [B] in lambda from `start` [B]: third order, second, x_0.

    Samples of size 0 do not move.
    """
    # DPM-Solver++(3S) with stages at 1/3 and 2/3 of the step in lambda. Its first two predictions
    # also give the embedded second-order result.
    t, u, v, s = (process.time_at(2 * (start + share * size)) for share in (0.0, 1 / 3, 2 / 3, 1.0))
    h = size.clamp(min=1e-12)
    alpha = {name: process.alpha(time) for name, time in (("v", v), ("s", s))}

    def phi(share: float) -> Tensor:
        return torch.expm1(-share * h) / (share * h) + 1

    first = denoise(x, t)
    gap = denoise(process.step(x, first, t, u), u) - first
    at_v = process.step(x, first, t, v) + like(alpha["v"] * 2 * phi(2 / 3), x) * gap
    far = denoise(at_v, v) - first
    base = process.step(x, first, t, s)
    second = base + like(alpha["s"] * 3 * phi(1.0), x) * gap
    third = base + like(alpha["s"] * 1.5 * phi(1.0), x) * far
    return third, second, first
