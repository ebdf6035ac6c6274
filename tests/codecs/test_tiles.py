"""Tiles: the same as the whole where a map looks no further than the overlap."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.codecs.tiles import tiled


@pytest.mark.parametrize("size", [(40,), (40, 25), (20, 20, 20)])
def test_pointwise_maps_are_exact(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size, dtype=torch.float64)
    y = tiled(lambda v: v.square() + 1, x, tile=9, overlap=4, ratio=(1, 1))
    assert torch.allclose(y, x.square() + 1, atol=1e-12)


def test_changes_of_size_are_exact() -> None:
    x = torch.randn(1, 2, 24, 32, dtype=torch.float64)
    up = tiled(lambda v: F.interpolate(v, scale_factor=4), x, tile=8, overlap=2, ratio=(4, 1))
    assert torch.allclose(up, F.interpolate(x, scale_factor=4))
    down = tiled(lambda v: F.avg_pool2d(v, 4), x, tile=16, overlap=8, ratio=(1, 4))
    assert torch.allclose(down, F.avg_pool2d(x, 4))


def test_no_seam_where_tiles_disagree() -> None:
    count = iter(range(100))

    def shifted(v: Tensor) -> Tensor:
        return v + float(next(count) % 2)

    x = torch.zeros(1, 1, 60, dtype=torch.float64)
    y = tiled(shifted, x, tile=20, overlap=9, ratio=(1, 1))[0, 0]
    assert y.min() >= 0 and y.max() <= 1
    assert (y[1:] - y[:-1]).abs().max() < 0.11  # a cut would be a step of 1


def test_every_place_is_covered_once_in_sum() -> None:
    for size in range(5, 40):
        x = torch.ones(1, 1, size)
        assert torch.allclose(tiled(lambda v: v, x, tile=10, overlap=3, ratio=(1, 1)), x)
