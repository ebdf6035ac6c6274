"""The figure of `inkdrop compare`: error against network calls, and the samples behind it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from torch import Tensor

from inkdrop.explain.cells import cell_of
from inkdrop.explain.style import GREY, INKS, legend, plate, plot, stacked
from inkdrop.explain.tiles import Labels, tiles, tiles_height
from inkdrop.model import Model
from inkdrop.tune.compare import Row
from inkdrop.tune.problem import Problem

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def compared_figure(model: Model, problem: Problem, rows: Sequence[Row]) -> Figure:
    """Curves of error over calls; below them sample 0 of every run, with the converged one last."""
    names = list(dict.fromkeys(row.sampler for row in rows))
    steps = list(dict.fromkeys(row.steps for row in rows))
    cell = cell_of(model.medium)
    high = tiles_height(len(names), len(steps) + 2, cell.height(model.spec.shape))
    figure = plate("Distance to the model's own converged sample, from the same noise", 3.4 + high)
    above, below = stacked(figure, (3.0, high))
    _errors(figure.add_subplot(above), problem, rows, names)
    labels = Labels(left=names, above=[*(f"{n} steps" for n in steps), "converged"])
    ends = _ends(model, problem, rows, names, steps)
    tiles(figure.add_subplot(below), cell, ends, labels, breaks=[len(steps)])
    return figure


def _errors(axes: Axes, problem: Problem, rows: Sequence[Row], names: Sequence[str]) -> None:
    plot(axes, "", "network calls", "root mean square error", log=True)
    axes.set_xscale("log")
    for i, name in enumerate(names):
        mine = [row for row in rows if row.sampler == name]
        colour = INKS[i % len(INKS)]
        calls, errors = [row.calls for row in mine], [row.error for row in mine]
        axes.plot(calls, errors, "o-", color=colour, label=name, markersize=4)
    ticks = sorted({row.calls for row in rows})
    axes.set_xticks(ticks, [str(n) for n in ticks])
    axes.minorticks_off()
    axes.axhline(float(problem.doubt.mean()), color=GREY, linewidth=1, linestyle=":",
                 label="error of the reference")  # fmt: skip
    legend(axes, "upper right")


def _ends(
    model: Model, problem: Problem, rows: Sequence[Row], names: Sequence[str], steps: Sequence[int]
) -> list[list[Tensor | None]]:
    """Sample 0 of every run, then the converged one; None if a sampler lacks that run."""
    last = model.codec.decode(problem.answer[:1])[0]
    ends = {(row.sampler, row.steps): model.codec.decode(row.x[:1])[0] for row in rows}
    return [[*(ends.get((name, n)) for n in steps), last] for name in names]
