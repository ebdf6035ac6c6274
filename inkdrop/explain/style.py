"""The style of every figure: ink on paper, one accent colour, generous margins."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import SubplotSpec

INK, ACCENT, TEAL, GREY, PALE = "#12355b", "#d1495b", "#2a9d8f", "#68727d", "#e4e9ef"
INKS = (INK, ACCENT, TEAL, "#e9a03b", "#7b5ea7", GREY)  # colours of several curves, in this order
GAP = 0.06  # between samples, in units of their width
WIDTH = 8.4  # inches: 10-point text stays readable on a narrow page
DPI = 160


def needs_matplotlib() -> None:
    """ValueError with the command to install matplotlib, if it is missing."""
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise ValueError(
            "the figures need matplotlib; install it with: pip install 'inkdrop[explain]'"
        ) from None


def plate(title: str, height: float) -> Figure:
    """An empty figure with a title, on an Agg canvas; `height` in inches."""
    needs_matplotlib()
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    figure.get_layout_engine().set(w_pad=0.12, h_pad=0.1)  # type: ignore[union-attr, call-arg]
    figure.suptitle(title, x=0.012, ha="left", fontsize=13, fontweight="bold", color=INK)
    return figure


def plot(axes: Axes, title: str, x: str, y: str, *, log: bool = False) -> None:
    """Styles axes for curves: no box, a pale grid; log: a logarithmic y axis."""
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
    """Adds a legend; where: matplotlib's location, such as "upper right"."""
    axes.legend(
        loc=where,  # type: ignore[call-overload]
        fontsize=9, frameon=False, labelcolor=INK, handlelength=1.8, labelspacing=0.3,
    )  # fmt: skip


def stacked(figure: Figure, heights: tuple[float, float]) -> tuple[SubplotSpec, SubplotSpec]:
    """The figure divided into an upper and a lower part, with these relative heights."""
    cells = figure.add_gridspec(2, 1, height_ratios=heights)
    return cells[0], cells[1]


def beside(place: SubplotSpec, widths: tuple[float, ...]) -> list[SubplotSpec]:
    """A place divided from left to right, with these relative widths."""
    cells = place.subgridspec(1, len(widths), width_ratios=widths)
    return [cells[0, i] for i in range(len(widths))]
