"""DPM-Solver++(2S), the midpoint rule on x_0 with two calls per step: ODE, ancestral and SDE."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.stages import stages
from inkdrop.diffusion.samplers.step import Step, Walk, climb, drawn, legs, move, only_ode


def dpmpp_2s(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(2S), order 2, 2 * steps - 1 calls. Lu et al. 2022, algorithm 1.

    This is `process.step` with the x_0 predicted at the step's midpoint in log-SNR (r = 1/2).
    """
    only_ode("dpmpp_2s", eta)
    return dpmpp_2s_a(process, denoise, x, times, eta=0.0)


def dpmpp_2s_a(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """DPM-Solver++(2S) to a point below the step's end, then fresh noise back up to the end."""
    walk = Walk(process, x, times, eta)
    for i, stage in enumerate(stages(process, walk.t, eta)):
        x0 = denoise(x, walk.now[i])
        if stage.middle is None:
            x = walk.step(i, x, x0, noise)
        else:
            to_middle, whole = legs(process, (stage.t,) * 2, (stage.middle, stage.end))
            (now,) = walk.moments([stage.middle])
            x0 = denoise(move(to_middle, x, x0), now)
            x = climb(process, move(whole, x, x0), stage.end, stage.s, noise)
        yield walk.done(i, x, x0)


def dpmpp_sde(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """The midpoint rule for the SDE: x_0 is predicted at a noisy midpoint; two calls per step.

    The midpoint and the end lie on one Brownian path. `dpmpp_sde` of k-diffusion, r = 1/2.
    """
    walk = Walk(process, x, times, eta)
    for i, stage in enumerate(stages(process, walk.t)):
        x0 = denoise(x, walk.now[i])
        if stage.middle is not None:
            (leg,) = legs(process, (stage.t,), (stage.middle,), eta)
            half = move(leg, x, x0)
            if leg[2]:
                half.add_(drawn(noise, stage.t, stage.middle), alpha=leg[2])
            (now,) = walk.moments([stage.middle])
            x0 = denoise(half, now)
        x = walk.step(i, x, x0, noise)
        yield walk.done(i, x, x0)
