"""Fit the weights of a multistep solver: one small least-squares problem per step."""

from __future__ import annotations

import torch
from torch import Tensor

from inkdrop.diffusion.samplers.fitted import combined
from inkdrop.tune.problem import Problem

PREDICTIONS = 3  # as many as a third-order multistep method uses


def fit_weights(
    problem: Problem, times: Tensor, predictions: int = PREDICTIONS
) -> tuple[tuple[tuple[float, ...], ...], Tensor]:
    """The weights of `samplers.fitted` on a grid, and the result [B, ...] of the run with them.

    In each step, the weights of x and of the last `predictions` x_0 minimise the squared distance,
    over all elements of all samples, to the ODE's state at the end of the step. A step starts from
    the result of the fitted steps before it, so it corrects their errors.
    """
    x, history, rows = problem.x, list[Tensor](), []
    targets = [problem.state_at(t) for t in times[1:-1]] + [problem.answer]
    for t, target in zip(times[:-1], targets, strict=True):
        history = [problem.denoise(x, t.expand(len(x))), *history[: predictions - 1]]
        values = [x, *history]
        columns = torch.stack([v.double().flatten().cpu() for v in values], 1)
        wanted = target.double().flatten().cpu()
        # Normal equations: a handful of unknowns and thousands of elements. The ridge, at the level
        # of rounding, is for predictions that are nearly equal.
        square = columns.T @ columns
        square += 1e-9 * square.diagonal().mean() * torch.eye(len(square), dtype=torch.float64)
        row = torch.linalg.solve(square, columns.T @ wanted).tolist()
        rows.append(tuple(row))
        x = combined(row, values)
    return tuple(rows), x
