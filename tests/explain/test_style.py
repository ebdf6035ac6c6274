from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from inkdrop.explain.style import DEEP, PAPER, colours, needs_matplotlib, plate, tiles


def test_rgb_stays_and_grey_becomes_ink_on_paper() -> None:
    rgb = torch.tensor([-1.0, 0.0, 1.0]).view(1, 3, 1, 1)
    assert colours(rgb)[0, 0, 0].tolist() == [0, 128, 255]
    grey = torch.tensor([-5.0, 5.0]).view(1, 1, 1, 2)
    assert colours(grey)[0, 0].tolist() == [list(DEEP), list(PAPER)]
    bands = torch.cat([grey, torch.zeros(1, 4, 1, 2)], 1)
    assert np.array_equal(colours(bands), colours(grey))


def test_tiles_stand_in_rows_and_columns_with_their_labels() -> None:
    figure = plate("title", 2)
    axes = figure.add_subplot()
    rows = [torch.zeros(3, 1, 4, 8), torch.ones(2, 1, 4, 8)]
    tiles(axes, rows, left=["a", "b"], above=["x", "y", "z"], breaks=[2])
    boxes = [image.get_extent() for image in axes.images]
    assert len(boxes) == 5
    assert tuple(boxes[0]) == (0, 1, 0.5, 0)
    gaps = [boxes[i + 1][0] - boxes[i][1] for i in range(2)]
    assert gaps[1] > gaps[0] > 0
    assert [text.get_text() for text in axes.texts] == ["a", "b", "x", "y", "z"]


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"inkdrop\[explain\]"):
        needs_matplotlib()
