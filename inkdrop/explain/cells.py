"""Drawing one sample into a cell of a figure: `CELLS` has an entry for each medium.

A medium without an entry is drawn as the sheet that it makes of one sample.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.explain.curves import Curves
from inkdrop.media.medium import Medium

if TYPE_CHECKING:
    from matplotlib.axes import Axes

DEEP, PAPER = (10, 28, 51), (252, 252, 250)  # RGB for -1 and 1 of a grey picture
FILM = 128  # pixels; in films, smaller pictures are enlarged by a whole number up to this width


class Cell(Protocol):
    """How samples of one medium are drawn. Every cell is 1 wide, and y grows downwards.

    note: a sentence for the report on how to read a cell, or ""
    """

    @property
    def note(self) -> str: ...

    def height(self, shape: Sequence[int]) -> float:
        """The height of a cell for a sample [C, *sizes]."""
        ...

    def channels(self, x: Tensor) -> Tensor:
        """x [B, C, *sizes] reduced to the channels that are drawn."""
        ...

    def fitted(self, samples: Iterable[Tensor]) -> Cell:
        """The same cell on a common scale for these samples [C, *sizes]."""
        ...

    def draw(self, axes: Axes, sample: Tensor, left: float, top: float) -> None:
        """Draws a sample [C, *sizes] with the upper left corner at (left, top)."""
        ...

    def frames(self, x: Tensor) -> NDArray[np.uint8]:
        """Samples [B, C, *sizes] as frames of a film, uint8 [B, height, width, 3]."""
        ...


@dataclass(frozen=True)
class Pictures:
    """RGB unchanged; of other pictures the first channel, in shades of ink."""

    note: str = ""

    def height(self, shape: Sequence[int]) -> float:
        return shape[-2] / shape[-1]

    def channels(self, x: Tensor) -> Tensor:
        return x if x.shape[1] in (1, 3) else x[:, :1]

    def fitted(self, samples: Iterable[Tensor]) -> Cell:
        return self

    def draw(self, axes: Axes, sample: Tensor, left: float, top: float) -> None:
        box = (left, left + 1, top + self.height(sample.shape), top)
        axes.imshow(colours(sample[None])[0], extent=box, interpolation="nearest")

    def frames(self, x: Tensor) -> NDArray[np.uint8]:
        scale = max(1, FILM // x.shape[-1])
        return colours(x).repeat(scale, axis=1).repeat(scale, axis=2)


@dataclass(frozen=True)
class Sheets:
    """The medium's own sheet of one sample."""

    medium: Medium
    note: str = ""

    def height(self, shape: Sequence[int]) -> float:
        high, wide, _ = self.frames(torch.zeros(1, *shape))[0].shape
        return float(high / wide)

    def channels(self, x: Tensor) -> Tensor:
        return x

    def fitted(self, samples: Iterable[Tensor]) -> Cell:
        return self

    def draw(self, axes: Axes, sample: Tensor, left: float, top: float) -> None:
        pixels = self.frames(sample[None])[0]
        box = (left, left + 1, top + pixels.shape[0] / pixels.shape[1], top)
        axes.imshow(pixels, extent=box)

    def frames(self, x: Tensor) -> NDArray[np.uint8]:
        sheets = [self.medium.sheet(one[None]).convert("RGB") for one in x]
        return np.stack([np.asarray(sheet, np.uint8) for sheet in sheets])


CELLS: dict[str, Cell] = {"picture": Pictures(), "series": Curves()}


def cell_of(medium: Medium) -> Cell:
    """The cell for samples of this medium."""
    return CELLS.get(medium.name) or Sheets(medium)


def colours(x: Tensor) -> NDArray[np.uint8]:
    """[B, C, H, W] in [-1, 1] as uint8 [B, H, W, 3]: RGB unchanged, else channel 0 in ink."""
    x = x.detach().float().cpu().clamp(-1, 1).add(1).div(2)
    if x.shape[1] == 3:
        shown = x.permute(0, 2, 3, 1) * 255
    else:
        deep, paper = torch.tensor(DEEP).float(), torch.tensor(PAPER).float()
        shown = torch.lerp(deep, paper, x[:, 0, :, :, None])
    return np.ascontiguousarray(shown.round().to(torch.uint8).numpy())
