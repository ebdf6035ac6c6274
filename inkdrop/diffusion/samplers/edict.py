"""EDICT: two coupled chains whose steps can be inverted exactly, for any denoiser."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Step, Walk, finite, levels, noise_in

SHARE = 0.93  # p in the paper: the weight of a chain's own state when the two are mixed


@dataclass(frozen=True)
class PairStep(Step):
    """A Step of two chains: x and the other chain's y [B, ...], which inversion also needs."""

    y: Tensor


def edict(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    y: Tensor | None = None,
    share: float = SHARE,
) -> Iterator[PairStep]:
    """DDIM on two chains, each with the eps of the other's state; order 1, two calls per step.

    Wallace et al. 2023 (EDICT), eq. 14. y: the other chain's start (None: x, as for fresh noise).
    Chosen over other exact schemes (BDIA, BELM): mixing averages errors away, whereas those
    schemes, which look back two steps, carry errors on or amplify them. ValueError if the grid
    begins where alpha is 0.
    """
    walk = _walk(process, x, times, share)
    y = x if y is None else y
    for i in range(walk.total):
        carried, added = _leg(walk, i)
        t, now = walk.t[i], walk.now[i]
        x0 = denoise(y, now)
        a = carried * x + added * noise_in(process, y, x0, t)
        b = carried * y + added * noise_in(process, a, denoise(a, now), t)
        x = share * a + (1 - share) * b
        y = share * b + (1 - share) * x
        yield _checked(PairStep(i, walk.total, walk.t[i + 1], x, x0, y), t)


def undo_edict(
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    y: Tensor | None = None,
    share: float = SHARE,
) -> Iterator[PairStep]:
    """The inverse of `edict`: from x (and y) at the end of the grid up to its first time.

    `edict` on the same grid leads from the last x and y back to the given x, up to rounding. times:
    the decreasing grid of `edict`. Wallace et al. 2023, eq. 15.
    """
    walk = _walk(process, x, times, share)
    y = x if y is None else y
    for number, i in enumerate(reversed(range(walk.total))):
        carried, added = _leg(walk, i)
        t, now = walk.t[i], walk.now[i]
        b = (y - (1 - share) * x) / share
        a = (x - (1 - share) * b) / share
        y = (b - added * noise_in(process, a, denoise(a, now), t)) / carried
        x0 = denoise(y, now)
        x = (a - added * noise_in(process, y, x0, t)) / carried
        yield _checked(PairStep(number, walk.total, t, x, x0, y), walk.t[i + 1])


def _walk(process: Process, x: Tensor, times: Tensor, share: float) -> Walk:
    if not 0.5 <= share < 1:
        raise ValueError(f"share is {share}: it must be from 0.5 up to, not including, 1")
    if float(process.alpha(times[:1])) == 0:
        raise ValueError(
            f"the grid begins at t = {float(times[0]):g}, where alpha is 0 and a step cannot be"
            f" inverted; begin at {process.t_start:g}"
        )
    return Walk(process, x, times, 0.0)


def _leg(walk: Walk, i: int) -> tuple[float, float]:
    """DDIM's step from time i to i + 1 as factors of x and of eps."""
    (alpha_t, sigma_t), (alpha_s, sigma_s) = levels(walk.process, walk.t[i : i + 2])
    return alpha_s / alpha_t, sigma_s - sigma_t * alpha_s / alpha_t


def _checked(step: PairStep, t: float) -> PairStep:
    finite(step, t)
    return step
