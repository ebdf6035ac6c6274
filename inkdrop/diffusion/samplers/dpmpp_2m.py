"""DPM-Solver++(2M) and its SDE form: second order with one call per step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.multistep import of_x0
from inkdrop.diffusion.samplers.step import Step, Walk, ode_or_sde


def extrapolated(nodes: Sequence[float], end: float) -> Sequence[float]:
    """Extrapolate the last two x_0 half a step ahead: x0 + h / (2 h') (x0 - x0')."""
    if len(nodes) < 2 or end == math.inf:
        return (1.0,)
    ahead = (end - nodes[0]) / (2 * (nodes[0] - nodes[1]))
    return 1 + ahead, -ahead


def dpmpp_2m(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(2M), order 2, one call per step. Lu et al. 2022 (DPM-Solver++), algorithm 2.

    This is `process.step` with x_0 extrapolated half a step ahead in log-SNR. eta = 1 gives
    SDE-DPM-Solver++(2M); between 0 and 1 the order is unknown, which is a ValueError. The first
    step, the step after alpha = 0 and the step to sigma = 0 are first order: there is no earlier
    x_0, or log-SNR is infinite.
    """
    ode_or_sde("dpmpp_2m", eta)
    return of_x0(Walk(process, x, times, eta), denoise, x, extrapolated, 2, noise)


def dpmpp_2m_sde(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(2M), one call per step: dpmpp_2m at eta = 1. Lu et al. 2022, appendix."""
    return dpmpp_2m(process, denoise, x, times, eta=eta, noise=noise)
