"""Samples in rows and columns with labels, the building block of most figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor

from inkdrop.explain.cells import Cell
from inkdrop.explain.style import GAP, GREY, INK, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Row = Tensor | Sequence[Tensor | None]  # samples [B, C, *sizes], or one by one; None stays empty


@dataclass(frozen=True)
class Labels:
    """Texts at the left of each row and above each column; size: of the font, in points."""

    left: Sequence[str] = ()
    above: Sequence[str] = ()
    size: float = 9


def tiles(
    axes: Axes, cell: Cell, rows: Sequence[Row], labels: Labels, breaks: Sequence[int] = ()
) -> None:
    """Draws rows of samples, each row on its own scale.

    breaks: indices of the columns with a wider gap before them
    """
    shape = next(one.shape for row in rows for one in row if one is not None)
    high, places = cell.height(shape), _places(max(len(row) for row in rows), breaks)
    for r, row in enumerate(rows):
        mine = cell.fitted(one for one in row if one is not None)
        for at, sample in zip(places, row, strict=False):
            if sample is not None:
                mine.draw(axes, sample, at, r * (high + GAP))
    for r, text in enumerate(labels.left):
        middle = r * (high + GAP) + high / 2
        axes.text(-0.12, middle, text, ha="right", va="center", fontsize=labels.size, color=INK)
    for at, text in zip(places, labels.above, strict=False):
        axes.text(at + 0.5, -0.1, text, ha="center", va="bottom", fontsize=labels.size, color=GREY)
    axes.set_xlim(0, places[-1] + 1)
    axes.set_ylim(len(rows) * (high + GAP) - GAP, 0)
    axes.set_aspect("equal")
    axes.axis("off")


def _places(columns: int, breaks: Sequence[int]) -> list[float]:
    """The left edge of each column."""
    return [i * (1 + GAP) + 0.3 * sum(b <= i for b in breaks) for i in range(columns)]


def tiles_height(rows: int, columns: int, high: float, width: float = WIDTH - 1) -> float:
    """The height in inches of `tiles` that are `width` inches wide, with cells of ratio `high`."""
    return width / columns * rows * high * 1.06
