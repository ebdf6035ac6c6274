from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from inkdrop.explain.cells import CELLS, DEEP, PAPER, Sheets, cell_of, colours
from inkdrop.explain.style import plate
from inkdrop.media.medium import PLAIN, Look, Medium
from inkdrop.registry import MEDIA


class Dice:
    """A medium that no part of the report knows."""

    name, many = "die", "dice"

    def sheet(self, x: Tensor, look: Look = PLAIN) -> Image.Image:
        return Image.new("L", (30 * len(x), 15), int(x.sum()))


def test_rgb_stays_and_grey_becomes_ink_on_paper() -> None:
    rgb = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert colours(rgb)[0, 0, 0].tolist() == [0, 128, 255]
    grey = torch.tensor([-5.0, 5.0]).view(1, 1, 1, 2)
    assert colours(grey)[0, 0].tolist() == [list(DEEP), list(PAPER)]
    bands = torch.cat([grey, torch.zeros(1, 4, 1, 2)], 1)
    assert np.array_equal(colours(bands), colours(grey))


def test_a_picture_is_drawn_as_its_pixels() -> None:
    axes = plate("title", 2).add_subplot()
    sample = torch.rand(3, 4, 8) * 2 - 1
    CELLS["picture"].draw(axes, sample, 2, 1)
    drawn = cast(NDArray[Any], axes.images[0].get_array())
    assert np.abs(drawn - (sample.permute(1, 2, 0).numpy() + 1) * 127.5).max() <= 0.51
    assert tuple(axes.images[0].get_extent()) == (2, 3, 1.5, 1)


def test_small_pictures_are_enlarged_in_films_by_whole_pixels() -> None:
    x = torch.rand(2, 1, 4, 50) * 2 - 1
    frames = CELLS["picture"].frames(x)
    assert frames.shape == (2, 8, 100, 3)
    assert np.array_equal(frames[:, 1::2, ::2], colours(x))


def test_every_medium_of_the_library_has_a_cell() -> None:
    for medium in MEDIA.values():
        assert cell_of(medium) is CELLS[medium.name]


def test_another_medium_is_drawn_as_its_own_sheet() -> None:
    cell = cell_of(cast(Medium, Dice()))
    assert isinstance(cell, Sheets)
    assert cell.height((1, 2)) == 0.5
    axes = plate("title", 2).add_subplot()
    sample = torch.full((1, 2), 20.0)
    cell.fitted([sample]).draw(axes, sample, 1, 2)
    assert tuple(axes.images[0].get_extent()) == (1, 2, 2.5, 2)
    assert np.unique(cast(NDArray[Any], axes.images[0].get_array())).tolist() == [40]
    assert cell.frames(torch.stack([sample, sample / 2]))[:, 0, 0, 0].tolist() == [40, 20]
    assert torch.equal(cell.channels(sample[None]), sample[None])
