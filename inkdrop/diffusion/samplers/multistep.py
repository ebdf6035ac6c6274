"""What multistep solvers share: earlier predictions, mixed into the one that the step is fed."""

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

# (lambda of the predictions, the newest and present one first; lambda of the step's end) -> the
# predictions' weights, which sum to 1; fewer weights than predictions leave the oldest out.
# lambda = log(alpha / sigma); the end is infinite for a step to sigma = 0.
Rule = Callable[[Sequence[float], float], Sequence[float]]

_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(48)


def adams(nodes: Sequence[float], start: float, end: float, rate: float = 0.0) -> list[float]:
    """Weights of values at `nodes` in the mean of their interpolating polynomial, start to end.

    The mean is taken with weight e^(rate u). By Gauss-Legendre quadrature: exact to rounding for
    rate * (end - start) up to about 50, and without the cancellation of the closed forms.
    """
    u = start + (end - start) * (_NODES + 1) / 2
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

    A prediction from where alpha = 0 has no finite lambda: it and those before it are left out.
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
    """Steps fed with a mix of the last `order` predictions of x_0; one call a step."""
    weights = weights_of(rule, walk.process, walk.t, order)
    history: list[Tensor] = []
    for i in range(walk.total):
        x0 = denoise(x, walk.now[i])
        history = [x0, *history[: order - 1]]
        x = walk.step(i, x, mix(weights[i], history), noise)
        yield walk.done(i, x, x0)


def of_eps(walk: Walk, denoise: Denoiser, x: Tensor, rule: Rule, order: int) -> Iterator[Step]:
    """Steps along a mix of the last `order` predictions of eps; one call a step."""
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
