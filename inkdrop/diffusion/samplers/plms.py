"""PLMS: pseudo linear multistep, Stable Diffusion's original sampler."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.multistep import mix
from inkdrop.diffusion.samplers.step import Step, Walk, along, levels, noise_in, only_ode

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def plms(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """PNDM's multistep part, steps + 1 calls. Liu et al. 2022, eq. 12-13 and appendix.

    Recent eps are mixed with the Adams-Bashforth weights for equal steps on any grid, and DDIM's
    step applies the result: order 2 on grids uniform in t. The first step is Heun's, with the mean
    of eps at both ends.
    """
    only_ode("plms", eta)
    return _plms(Walk(process, x, times, 0.0), denoise, x)


def _plms(walk: Walk, denoise: Denoiser, x: Tensor) -> Iterator[Step]:
    process, history = walk.process, list[Tensor]()
    for i in range(walk.total):
        t, s = walk.t[i], walk.t[i + 1]
        x0 = denoise(x, walk.now[i])
        if levels(process, walk.t)[i][0] == 0:
            x = walk.step(i, x, x0, None)
        else:
            history = [noise_in(process, x, x0, t), *history[:3]]
            slope = mix(ADAMS_BASHFORTH[len(history) - 1], history)
            if len(history) == 1 and s > 0:
                ahead = along(process, x, slope, t, s)
                end = noise_in(process, ahead, denoise(ahead, walk.now[i + 1]), s)
                slope = (slope + end) / 2
            x = along(process, x, slope, t, s)
        yield walk.done(i, x, x0)
