from __future__ import annotations

import numpy as np
import pytest
import torch
from matplotlib.colors import to_rgb
from matplotlib.lines import Line2D

from inkdrop.explain.curves import BAND, DATA, NOISE, Curves
from inkdrop.explain.style import INKS, plate


def drawn(sample: torch.Tensor, cell: Curves | None = None) -> list[Line2D]:
    """The curves of a sample in the cell at (2, 3), without the zero line."""
    axes = plate("title", 2).add_subplot()
    (cell or Curves()).draw(axes, sample, 2, 3)
    return list(axes.lines)[1:]


def test_a_curve_is_the_samples_own_values_one_ink_a_channel() -> None:
    sample = torch.randn(8, 40)
    lines = drawn(sample)
    values = np.stack([np.asarray(line.get_ydata()) for line in lines])
    assert np.array_equal(values, sample.numpy())
    assert [line.get_color() for line in lines] == [*INKS, *INKS][:8]


@pytest.mark.parametrize("cell", [Curves(), Curves(NOISE)])
def test_values_run_from_the_lower_edge_to_the_upper_and_stay_inside(cell: Curves) -> None:
    (line,) = drawn(torch.tensor([[-cell.reach, 0.0, cell.reach, 99.0]]), cell)
    assert line.axes is not None
    within = line.get_transform() - line.axes.transData
    places = within.transform(np.asarray(line.get_xydata()))
    assert places[:3, 1] == pytest.approx([3 + cell.ratio, 3 + cell.ratio / 2, 3])
    assert 2 < places[0, 0] < places[-1, 0] < 3
    clip = line.get_clip_box()
    assert clip is not None
    box = line.axes.transData.inverted().transform_bbox(clip)
    assert [box.x0, box.x1] == pytest.approx([2, 3])
    assert sorted([box.y0, box.y1]) == pytest.approx([3, 3 + cell.ratio])


def test_there_is_one_scale_for_data_and_one_for_noise() -> None:
    quiet, loud = torch.full((1, 9), -1.2), torch.full((1, 9), -2.0)
    assert Curves(NOISE).fitted([quiet, quiet]).reach == DATA
    assert Curves().fitted([quiet, loud]).reach == NOISE
    assert Curves().fitted(torch.randn(3, 1, 400)).reach == NOISE


def test_long_curves_are_thin_and_one_value_is_a_point() -> None:
    widths = [drawn(torch.zeros(1, length))[0].get_linewidth() for length in (10, 600, 90_000)]
    assert widths[0] > widths[1] > widths[2] > 0.2
    (line,) = drawn(torch.tensor([[0.5]]))
    assert line.get_marker() == "."
    assert line.get_xdata() == pytest.approx([0.5])


def test_frames_show_each_sample_at_its_height() -> None:
    x = torch.stack([torch.full((1, 30), value) for value in (-1.0, 0.0, 1.0)])
    frames = Curves().frames(x)
    ink = np.abs(frames - np.array(to_rgb(INKS[0])) * 255).max(-1) < 40
    rows = [float(np.nonzero(one)[0].mean()) for one in ink]
    assert rows[0] > rows[1] > rows[2]
    assert rows[0] - rows[1] == pytest.approx(rows[1] - rows[2], abs=1)
    # -1 and 1 are the ends of the shaded band
    band = (np.abs(frames[1] - np.array(to_rgb(BAND)) * 255).max(-1) < 1).any(1)
    ends = np.flatnonzero(band)
    assert [ends[-1], ends[0]] == pytest.approx([rows[0], rows[2]], abs=2)
