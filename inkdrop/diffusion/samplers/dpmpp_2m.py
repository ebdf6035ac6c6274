"""DPM-Solver++(2M): second order at one call a step."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Step, Walk, log_snrs


def dpmpp_2m(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(2M), order 2, one call a step. Lu et al. 2022, algorithm 2.

    It is `process.step` fed with x_0 extrapolated half a step ahead in log-SNR:
    x0 + h_i / (2 h_{i-1}) (x0 - x0_before). eta = 1 gives SDE-DPM-Solver++(2M); between 0 and 1 the
    order is not known, so it is refused. The first step, the step after alpha = 0 and the step into
    sigma = 0 are first order, for log-SNR is infinite there.
    """
    if eta not in (0.0, 1.0):
        raise ValueError(f"eta is {eta}: dpmpp_2m is defined for 0 (ODE) and 1 (SDE)")
    walk = Walk(process, x, times, eta)
    level = log_snrs(process, walk.t)
    gap = [after - before for before, after in itertools.pairwise(level)]
    infinite = float("inf")
    before: Tensor | None = None
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        used = x0
        if before is not None and gap[i] < infinite and gap[i - 1] < infinite:
            used = torch.lerp(before, x0, 1 + gap[i] / (2 * gap[i - 1]))
        before = x0
        x = walk.step(i, x, used, noise)
        yield walk.done(i, x, x0)
