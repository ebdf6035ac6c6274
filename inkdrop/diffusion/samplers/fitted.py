"""A linear multistep solver with weights fitted to one model on one grid."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.step import Sampler, Step, Walk, only_ode

# One row per step: the weights of x, of the newest x_0, then of older ones.
Weights = Sequence[Sequence[float]]


def fitted(weights: Weights) -> Sampler:
    """The sampler with these weights, one row per step: for x, the newest x_0, then older ones.

    x_s = w_0 x_t + w_1 x_0(t) + w_2 x_0(one step before) + ...; one call per step, order 1 in
    general. Shaul et al. 2024 (Bespoke non-stationary solvers), eq. 12. `inkdrop tune` finds the
    weights by least squares. ValueError unless the grid has one step per row.
    """
    return partial(_fitted, weights)


def _fitted(
    weights: Weights,
    process: Process,
    denoise: Denoiser,
    x: Tensor,
    times: Tensor,
    *,
    eta: float = 0.0,
    noise: Noise | None = None,
) -> Iterator[Step]:
    only_ode("fitted", eta)
    if len(weights) != len(times) - 1:
        raise ValueError(
            f"{len(weights)} rows of weights do not fit a grid of {len(times) - 1} steps; run"
            " `inkdrop tune` again"
        )
    walk = Walk(process, x, times, 0.0)
    history: list[Tensor] = []
    for i, row in enumerate(weights):
        x0 = denoise(x, walk.now[i])
        history = [x0, *history[: len(max(weights, key=len)) - 2]]
        x = combined(row, [x, *history])
        yield walk.done(i, x, x0)


def combined(row: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The sum of weight * value [B, ...] over the row; values beyond the row are ignored."""
    total = values[0] * row[0]
    for weight, value in zip(row[1:], values[1:], strict=False):
        total.add_(value, alpha=weight)
    return total
