"""The predictor-corrector sampler of the score SDE: ancestral steps, each with a Langevin step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Step, Walk, drawn, levels

RATIO = 0.16  # the authors' signal-to-noise ratio for CIFAR-10


def langevin(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 1.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    """An ancestral step, then one Langevin step at the noise level reached; 2 * steps - 1 calls.

    Song et al. 2021 (score SDE), algorithms 2 and 4, with a signal-to-noise ratio of 0.16. The
    norms of noise and score in the step size are replaced by their expected values, sqrt(D) and
    sqrt(D) / sigma, so a sample is the same in any batch and its step size is independent of its
    noise.
    """
    walk = Walk(process, x, times, eta)
    for i in range(walk.total):
        s = walk.t[i + 1]
        x0 = denoise(x, walk.now[i])
        x = walk.step(i, x, x0, noise)
        if s > 0:
            x0 = denoise(x, walk.now[i + 1])
            x = corrected(process, x, x0, s, drawn(noise, s, s))
        yield walk.done(i, x, x0)


def corrected(process: Process, x: Tensor, x0: Tensor, t: float, z: Tensor) -> Tensor:
    """A Langevin step towards q(x_t): x + e score + sqrt(2 e) z, e = 2 (0.16 sigma)^2."""
    ((alpha, sigma),) = levels(process, (t,))
    size = 2 * (RATIO * sigma) ** 2
    score = (alpha * x0 - x) / sigma**2
    return (x + size * score).add_(z, alpha=math.sqrt(2 * size))
