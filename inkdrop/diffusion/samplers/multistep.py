"""Shared by multistep solvers: recent predictions, mixed into the one that a step uses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import Noise
from inkdrop.diffusion.process import Process, lambdas
from inkdrop.diffusion.samplers.step import Step, Walk, along, noise_in

# (lambda of each prediction, the current one first; lambda at the end of the step) -> the weights
# of the predictions, which sum to 1; if there are fewer weights, the oldest predictions are unused.
# lambda = log(alpha / sigma), which is infinite at the end of a step to sigma = 0.
Rule = Callable[[Sequence[float], float], Sequence[float]]

# 48 points are exact to rounding for the rates and steps that occur; see `adams`.
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def adams(nodes: Sequence[float], start: float, end: float, rate: float = 0.0) -> list[float]:
    """Weights of the values at `nodes` in the mean of their polynomial from start to end.

    The polynomial interpolates the values; the mean has the weight function e^(rate u).
    Gauss-Legendre quadrature is exact to rounding for rate * (end - start) up to about 50 and
    avoids the cancellation in the closed forms.
    """
    u = start + (end - start) * (_NODES + 1) / 2
    # Relative to the larger end of the exponent, so that nothing overflows.
    mass = _WEIGHTS * np.exp(rate * (u - max(start, end) if rate > 0 else u - min(start, end)))
    mass /= mass.sum()
    weights = []
    for j, node in enumerate(nodes):
        others = [other for i, other in enumerate(nodes) if i != j]
        basis = np.prod([(u - other) / (node - other) for other in others], axis=0)
        weights.append(float((mass * basis).sum()))
    return weights


@lru_cache(maxsize=64)
def weights_of(
    rule: Rule, process: Process, times: tuple[float, ...], order: int
) -> tuple[tuple[float, ...], ...]:
    """The rule's weights for each step of a grid, with at most `order` predictions.

    A prediction at alpha = 0 has no finite lambda, so it and all earlier ones are left out.
    """
    level = lambdas(process, times)
    found = []
    for i in range(len(times) - 1):
        nodes = []
        for j in range(i, max(i - order, -1), -1):
            if level[j] == -math.inf:
                break
            nodes.append(level[j])
        found.append(tuple(rule(nodes, level[i + 1])) if nodes else (1.0,))
    return tuple(found)


def mix(weights: Sequence[float], values: Sequence[Tensor]) -> Tensor:
    """The weighted sum of the first len(weights) values; the weights sum to 1."""
    if len(weights) == 1:
        return values[0]
    if len(weights) == 2:
        return torch.lerp(values[1], values[0], weights[0])
    total = values[0] * weights[0]
    for weight, value in zip(weights[1:], values[1:], strict=False):
        total.add_(value, alpha=weight)
    return total


def of_x0(
    walk: Walk, denoise: Denoiser, x: Tensor, rule: Rule, order: int, noise: Noise | None = None
) -> Iterator[Step]:
    """Steps that use a mix of the last `order` predictions of x_0; one call per step."""
    weights = weights_of(rule, walk.process, walk.t, order)
    history: list[Tensor] = []
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        history = [x0, *history[: order - 1]]
        x = walk.step(i, x, mix(weights[i], history), noise)
        yield walk.done(i, x, x0)


def of_eps(walk: Walk, denoise: Denoiser, x: Tensor, rule: Rule, order: int) -> Iterator[Step]:
    """Steps along a mix of the last `order` predictions of eps; one call per step."""
    weights = weights_of(rule, walk.process, walk.t, order)
    history: list[Tensor] = []
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        history = [noise_in(walk.process, x, x0, walk.t[i]), *history[: order - 1]]
        if len(weights[i]) == 1:
            x = walk.step(i, x, x0, None)
        else:
            x = along(walk.process, x, mix(weights[i], history), walk.t[i], walk.t[i + 1])
        yield walk.done(i, x, x0)
