from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from subjects import subject

from inkdrop.explain.errors import errors_section, measure


@pytest.mark.parametrize("kind", ["discrete", "ve", "flow"])
def test_the_error_of_eps_is_snr_times_that_of_x0(tmp_path: Path, kind: str) -> None:
    it = subject(tmp_path, {"kind": kind})
    errors = measure(it, 4)
    # float32 loses the smaller of the two at the ends
    middle = errors.levels.abs() < 5
    snr = errors.levels.exp()[:, None]
    ratio = (errors.eps / (snr * errors.x0))[middle]
    assert torch.allclose(ratio, torch.ones_like(ratio), rtol=2e-3)
    assert errors.levels.max() <= 10
    assert errors.levels.min() >= -10


def test_the_spread_is_the_error_of_the_mean_picture(tmp_path: Path) -> None:
    it = subject(tmp_path, count=5)
    x0 = it.real(5)
    expected = x0.var(0, correction=0).mean()
    assert measure(it).spread == pytest.approx(float(expected), rel=1e-5)


def test_the_section_says_how_many_pictures_it_used(tmp_path: Path) -> None:
    section = errors_section(subject(tmp_path, count=2))
    assert "on 2 of your pictures" in section.words
    assert section.figure is not None
    curve = section.figure.axes[0].lines[0].get_ydata()
    assert all(math.isfinite(float(y)) for y in torch.as_tensor(curve))
