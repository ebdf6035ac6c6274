"""The look of every figure: ink on paper, one accent, room around things."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

INK, ACCENT, TEAL, GREY, PALE = "#12355b", "#d1495b", "#2a9d8f", "#68727d", "#e4e9ef"
DEEP, PAPER = (10, 28, 51), (252, 252, 250)  # the two ends of a grey picture
GAP = 0.06  # between pictures, in units of their width
WIDTH = 8.4  # inches: text of 10 points stays readable when a page is narrow
DPI = 160


def needs_matplotlib() -> None:
    """ValueError that names the extra if matplotlib is not installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "the figures need matplotlib; install it with: pip install 'inkdrop[explain]'"
        ) from None


def plate(title: str, height: float) -> Figure:
    """An empty figure with its title, on the Agg canvas; `height` in inches."""
    needs_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def plot(axes: Axes, title: str, x: str, y: str, *, log: bool = False) -> None:
    """A quiet frame for curves: no box, a pale grid, labels in words."""
    axes.set_title(title, loc="left", fontsize=10.5, color=INK, pad=8)
    axes.set_xlabel(x, fontsize=9.5, color=GREY)
    axes.set_ylabel(y, fontsize=9.5, color=GREY)
    axes.tick_params(labelsize=9, colors=GREY, length=0)
    axes.grid(color=PALE, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(PALE)
    if log:
        axes.set_yscale("log")
    axes.minorticks_off()


def legend(axes: Axes, where: str) -> None:
    """The names of the curves, such as at the "upper right"."""
    axes.legend(
        loc=where,  # type: ignore[call-overload]
        fontsize=9, frameon=False, labelcolor=INK, handlelength=1.8, labelspacing=0.3,
    )  # fmt: skip


def stacked(figure: Figure, heights: tuple[float, float]) -> tuple[SubplotSpec, SubplotSpec]:
    """The figure's place, divided into an upper and a lower part."""
    cells = figure.add_gridspec(2, 1, height_ratios=heights)
    return cells[0], cells[1]


def beside(place: SubplotSpec, widths: tuple[float, ...]) -> list[SubplotSpec]:
    """A place divided from left to right."""
    cells = place.subgridspec(1, len(widths), width_ratios=widths)
    return [cells[0, i] for i in range(len(widths))]


def colours(x: Tensor) -> NDArray[np.uint8]:
    """[B, C, H, W] in [-1, 1] as uint8 [B, H, W, 3]: RGB as it is, else channel 0 in ink."""
    x = x.detach().float().cpu().clamp(-1, 1).add(1).div(2)
    if x.shape[1] == 3:
        shown = x.permute(0, 2, 3, 1) * 255
    else:
        deep, paper = torch.tensor(DEEP).float(), torch.tensor(PAPER).float()
        shown = torch.lerp(deep, paper, x[:, 0, :, :, None])
    return np.ascontiguousarray(shown.round().to(torch.uint8).numpy())


def tiles(
    axes: Axes,
    rows: Sequence[Tensor],
    *,
    left: Sequence[str] = (),
    above: Sequence[str] = (),
    breaks: Sequence[int] = (),
    size: float = 9,
) -> None:
    """Rows of pictures [B, C, H, W] with labels on the left and above.

    breaks: numbers of the columns with a wider gap before them.
    """
    high = rows[0].shape[-2] / rows[0].shape[-1]
    places = _places(max(len(row) for row in rows), breaks)
    for r, row in enumerate(rows):
        top = r * (high + GAP)
        for at, picture in zip(places, colours(row), strict=False):
            box = (at, at + 1, top + high, top)
            axes.imshow(picture, extent=box, interpolation="nearest")
    for r, text in enumerate(left):
        middle = r * (high + GAP) + high / 2
        axes.text(-0.12, middle, text, ha="right", va="center", fontsize=size, color=INK)
    for at, text in zip(places, above, strict=False):
        axes.text(at + 0.5, -0.1, text, ha="center", va="bottom", fontsize=size, color=GREY)
    axes.set_xlim(0, places[-1] + 1)
    axes.set_ylim(len(rows) * (high + GAP) - GAP, 0)
    axes.set_aspect("equal")
    axes.axis("off")


def _places(columns: int, breaks: Sequence[int]) -> list[float]:
    """Where each column begins."""
    return [i * (1 + GAP) + 0.3 * sum(b <= i for b in breaks) for i in range(columns)]


def tiles_height(rows: int, columns: int, shape: Sequence[int], width: float = WIDTH - 1) -> float:
    """Inches that `tiles` need when they are `width` inches wide."""
    return width / columns * rows * shape[-2] / shape[-1] * 1.06
