"""DPM-Solver++(3M) and its SDE form: third order with one call per step."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import lru_cache

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.multistep import Rule, adams, of_x0
from inkdrop.diffusion.samplers.step import Step, Walk, ode_or_sde


@lru_cache(maxsize=8)
def exponential(rate: float) -> Rule:
    """The rule that integrates the polynomial through recent x_0 with weight e^(rate lambda)."""

    def rule(nodes: Sequence[float], end: float) -> Sequence[float]:
        return (1.0,) if end == math.inf else adams(nodes, nodes[0], end, rate)

    return rule


def dpmpp_3m(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(3M), order 3, one call per step. Lu et al. 2022, section 4 with n = 3.

    The exact integral of e^lambda x_0(lambda) (eq. 8), with x_0 the parabola through the last
    three. Other implementations weight the second difference with half of its integral, which
    leaves the order at 2. eta = 1 is the SDE, with e^(2 lambda); between, a ValueError.
    """
    ode_or_sde("dpmpp_3m", eta)
    return of_x0(Walk(process, x, times, eta), denoise, x, exponential(1 + eta), 3, noise)


def dpmpp_3m_sde(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """SDE-DPM-Solver++(3M), one call per step: dpmpp_3m at eta = 1."""
    return dpmpp_3m(process, denoise, x, times, eta=eta, noise=noise)
