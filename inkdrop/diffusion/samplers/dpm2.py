"""DPM-Solver-2, the midpoint rule on eps with two calls per step, and its ancestral form."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.stages import stages
from inkdrop.diffusion.samplers.step import Step, Walk, along, climb, legs, move, noise_in, only_ode


def dpm2(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver-2, order 2, 2 * steps - 1 calls. Lu et al. 2022 (DPM-Solver), algorithm 1.

    The slope of the whole step is eps at its midpoint in log-SNR.
    """
    only_ode("dpm2", eta)
    return dpm2_a(process, denoise, x, times, eta=0.0)


def dpm2_a(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver-2 to a point below the step's end, then fresh noise back up to the end.

    Two calls per step. A step with infinite log-SNR at an end is DDIM's, with one call.
    """
    walk = Walk(process, x, times, eta)
    for i, stage in enumerate(stages(process, walk.t, eta)):
        x0 = denoise(x, walk.now[i])
        if stage.middle is None:
            x = walk.step(i, x, x0, noise)
        else:
            (leg,) = legs(process, (stage.t,), (stage.middle,))
            half = move(leg, x, x0)
            (now,) = walk.moments([stage.middle])
            eps = noise_in(process, half, denoise(half, now), stage.middle)
            x = along(process, x, eps, stage.t, stage.end)
            x = climb(process, x, stage.end, stage.s, noise)
        yield walk.done(i, x, x0)
