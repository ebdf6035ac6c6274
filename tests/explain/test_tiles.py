from __future__ import annotations

import numpy as np
import pytest
import torch

from inkdrop.explain.cells import CELLS
from inkdrop.explain.style import plate
from inkdrop.explain.tiles import Labels, tiles


def test_tiles_stand_in_rows_and_columns_with_their_labels() -> None:
    axes = plate("title", 2).add_subplot()
    rows = [torch.zeros(3, 1, 4, 8), torch.ones(2, 1, 4, 8)]
    labels = Labels(left=["a", "b"], above=["x", "y", "z"])
    tiles(axes, CELLS["picture"], rows, labels, breaks=[2])
    boxes = [image.get_extent() for image in axes.images]
    assert len(boxes) == 5
    assert tuple(boxes[0]) == (0, 1, 0.5, 0)
    gaps = [boxes[i + 1][0] - boxes[i][1] for i in range(2)]
    assert gaps[1] > gaps[0] > 0
    assert [text.get_text() for text in axes.texts] == ["a", "b", "x", "y", "z"]


def test_a_missing_sample_leaves_its_place_empty() -> None:
    axes = plate("title", 2).add_subplot()
    one = torch.zeros(1, 4, 4)
    tiles(axes, CELLS["picture"], [[None, one], [one, one]], Labels())
    assert [tuple(image.get_extent())[:2] for image in axes.images] == [
        (1.06, 2.06), (0, 1), (1.06, 2.06),
    ]  # fmt: skip
    assert axes.get_xlim() == (0, 2.06)


def test_each_row_of_curves_has_its_own_scale() -> None:
    axes = plate("title", 2).add_subplot()
    rows = [torch.full((2, 1, 8), 3.0), torch.full((2, 1, 8), 1.0)]
    tiles(axes, CELLS["series"], rows, Labels())
    bands = [patch.get_extents() for patch in axes.patches[1::2]]
    heights = [axes.transData.inverted().transform_bbox(band).height for band in bands]
    loud, quiet = [2 * 0.35 / 3.5] * 2, [2 * 0.35 / 1.5] * 2  # half a cell is the reach
    assert np.abs(heights) == pytest.approx([*loud, *quiet])
