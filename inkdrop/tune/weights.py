"""Fitting a multistep solver's weights: one small least squares problem a step."""

from __future__ import annotations

import torch
from torch import Tensor

from inkdrop.diffusion.samplers.fitted import combined
from inkdrop.tune.problem import Problem

PREDICTIONS = 3


def fit_weights(
    problem: Problem, times: Tensor, predictions: int = PREDICTIONS
) -> tuple[tuple[tuple[float, ...], ...], Tensor]:
    """The weights of `samplers.fitted` on a grid, and the end [B, ...] of the run with them.

    Each step's weights of x and of the last `predictions` x_0 bring it as near as they can, in
    least squares over all elements of all samples, to the ODE's own state at the step's end. Later
    steps start from where the fitted ones led, so they make good for what these missed.
    """
    x, history, rows = problem.x, list[Tensor](), []
    targets = [problem.state_at(t) for t in times[1:-1]] + [problem.answer]
    for t, target in zip(times[:-1], targets, strict=True):
        history = [problem.denoise(x, t.expand(len(x))), *history[: predictions - 1]]
        values = [x, *history]
        columns = torch.stack([v.double().flatten().cpu() for v in values], 1)
        wanted = target.double().flatten().cpu()
        # Normal equations: a handful of unknowns for thousands of elements. The ridge is at
        # rounding's level, for predictions that hardly differ.
        square = columns.T @ columns
        square += 1e-9 * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
        row = torch.linalg.solve(square, columns.T @ wanted).tolist()
        rows.append(tuple(row))
        x = combined(row, values)
    return tuple(rows), x
