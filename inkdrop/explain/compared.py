"""The picture of `inkdrop compare`: error against network calls, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from inkdrop.explain.style import (
    ACCENT,
    GREY,
    INK,
    TEAL,
    legend,
    plate,
    plot,
    stacked,
    tiles,
    tiles_height,
)
from inkdrop.model import Model
from inkdrop.tune.compare import Row
from inkdrop.tune.problem import Problem

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = (INK, ACCENT, TEAL, "#e9a03b", "#7b5ea7", GREY)


def compared_figure(model: Model, problem: Problem, rows: Sequence[Row]) -> Figure:
    """Curves of error over calls; below them sample 0 of every run, the converged one last."""
    names = list(dict.fromkeys(row.sampler for row in rows))
    steps = list(dict.fromkeys(row.steps for row in rows))
    shown = len(model.spec.shape) == 3
    high = tiles_height(len(names), len(steps) + 2, model.spec.shape) if shown else 0.0
    figure = plate("Distance to the model's own converged answer, from the same noise", 3.4 + high)
    above, below = stacked(figure, (3.0, max(high, 0.01)))
    axes = figure.add_subplot(above)
    plot(axes, "", "network calls", "root mean square error", log=True)
    axes.set_xscale("log")
    for i, name in enumerate(names):
        mine = [row for row in rows if row.sampler == name]
        colour = COLOURS[i % len(COLOURS)]
        calls, errors = [row.calls for row in mine], [row.error for row in mine]
        axes.plot(calls, errors, "o-", color=colour, label=name, markersize=4)
    ticks = sorted({row.calls for row in rows})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.axhline(float(problem.doubt.mean()), color=GREY, linewidth=1, linestyle=":",
                 label="doubt of the answer")  # fmt: skip
    legend(axes, "upper right")
    if shown:
        ends = {(row.sampler, row.steps): row.x for row in rows}
        picture = figure.add_subplot(below)
        last = problem.answer[:1]
        lines = []
        for name in names:
            blank = torch.ones_like(last)  # where nothing was tuned for so many steps
            states = [*(ends.get((name, n), blank)[:1] for n in steps), last]
            lines.append(model.codec.decode(torch.cat(states)))
        tiles(picture, lines, left=names, above=[*(f"{n} steps" for n in steps), "converged"],
              breaks=[len(steps)])  # fmt: skip
    return figure
