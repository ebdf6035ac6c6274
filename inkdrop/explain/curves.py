"""The cell of series: curves as vector lines, sharp at any size."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.explain.style import DPI, GAP, INKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# The value at a cell's upper edge. There are only two scales, so that rows can be compared: one for
# data, from -1 to 1 or slightly beyond, and one for noise, which exceeds it once in 2000 values.
DATA, NOISE = 1.5, 3.5
INSET = 0.03  # left and right of a curve, as a share of the cell
WASH, BAND, ZERO = "#f6f8fb", "#e9eef4", "#c3ccd6"
FILM = 200  # pixels; the width of a cell in a film


@dataclass(frozen=True)
class Curves:
    """Series [C, L] as lines, one colour per channel, over a band from -1 to 1.

    reach: the cell spans values from -reach to reach; ratio: height over width; note: as in `Cell`
    """

    reach: float = DATA
    ratio: float = 0.7
    note: str = "The shaded band behind each curve always spans −1 to 1."

    def height(self, shape: Sequence[int]) -> float:
        return self.ratio

    def channels(self, x: Tensor) -> Tensor:
        return x

    def fitted(self, samples: Iterable[Tensor]) -> Curves:
        """The cell on the scale for data if all values fit, else on the scale for noise."""
        fit = all(bool((one.abs() <= DATA).all()) for one in samples)
        return replace(self, reach=DATA if fit else NOISE)

    def draw(self, axes: Axes, sample: Tensor, left: float, top: float) -> None:
        from matplotlib.lines import Line2D
        from matplotlib.patches import Rectangle
        from matplotlib.transforms import Affine2D

        # Lines keep the sample's own values as data; the transform maps them into the cell.
        down = self.ratio / 2 / self.reach
        here = Affine2D().scale(1, -down).translate(left, top + self.ratio / 2) + axes.transData
        wash = Rectangle((left, top), 1, self.ratio, facecolor=WASH, linewidth=0)
        axes.add_patch(wash)
        axes.add_patch(Rectangle((0, -1), 1, 2, facecolor=BAND, linewidth=0, transform=here))
        axes.add_line(
            Line2D([0, 1], [0, 0], color=ZERO, linewidth=0.5, transform=here, solid_capstyle="butt")
        )
        across, width = _across(sample.shape[-1]), _width(sample.shape[-1])
        for ink, values in zip(_inks(len(sample)), sample.detach().float().cpu(), strict=True):
            # A series of one value has no line, so it gets a marker.
            mark = "." if len(values) == 1 else ""
            line = Line2D(across, values.numpy(), color=ink, linewidth=width, marker=mark)
            line.set_transform(here)
            axes.add_line(line)
            line.set_clip_path(wash)

    def frames(self, x: Tensor) -> NDArray[np.uint8]:
        """Frames 200 pixels wide, with half a gap around each."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        high = round(FILM * (self.ratio + GAP) / (1 + GAP))
        figure = Figure(figsize=(FILM / DPI, len(x) * high / DPI), dpi=DPI, facecolor="white")
        canvas = FigureCanvasAgg(figure)
        axes = figure.add_axes((0, 0, 1, 1))
        for i, sample in enumerate(x):
            self.draw(axes, sample, 0, i * (self.ratio + GAP))
        axes.set_xlim(-GAP / 2, 1 + GAP / 2)
        axes.set_ylim(len(x) * (self.ratio + GAP) - GAP / 2, -GAP / 2)
        axes.axis("off")
        canvas.draw()  # type: ignore[no-untyped-call]
        whole = np.asarray(canvas.buffer_rgba())[..., :3]  # type: ignore[no-untyped-call]
        return np.ascontiguousarray(whole.reshape(len(x), high, FILM, 3))


def _across(length: int) -> NDArray[np.float64]:
    return np.linspace(INSET, 1 - INSET, length) if length > 1 else np.array([0.5])


def _width(length: int) -> float:
    """Line width in points: thinner for longer series, so that noise is not a solid block."""
    return max(0.3, min(0.9, 0.9 * math.sqrt(150 / length)))


def _inks(count: int) -> list[str]:
    return [INKS[i % len(INKS)] for i in range(count)]
