"""Precision, recall, density and coverage against scikit-learn's neighbours and plain cases."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from inkdrop.evaluate import matrix
from inkdrop.evaluate.precision import density_coverage, precision_recall


def rows(n: int, dim: int, seed: int, scale: float = 1.0, mean: float = 0.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return mean + scale * torch.randn(n, dim, generator=draw, dtype=torch.float64)


def held_by_sklearn(centres: Tensor, points: Tensor, k: int) -> NDArray[np.bool_]:
    """[N, M]: which balls hold which points, from trees alone."""
    tree = NearestNeighbors(algorithm="ball_tree").fit(centres.numpy())
    reach = tree.kneighbors(n_neighbors=k)[0][:, -1]
    others = NearestNeighbors(algorithm="ball_tree").fit(points.numpy())
    held = np.zeros((len(centres), len(points)), dtype=bool)
    for i, radius in enumerate(reach):
        inside = others.radius_neighbors(centres[i : i + 1].numpy(), radius)[1][0]
        held[i, inside] = True
    return held


@pytest.mark.parametrize("k", [1, 3, 5])
@pytest.mark.parametrize("mean", [0.0, 300.0])
def test_agrees_with_trees(k: int, mean: float, monkeypatch: pytest.MonkeyPatch):
    real, samples = rows(150, 4, 0, mean=mean), rows(110, 4, 1, 0.7, mean=mean + 0.5)
    monkeypatch.setattr(matrix, "BLOCK", 1500)
    held, back = held_by_sklearn(real, samples, k), held_by_sklearn(samples, real, k)
    found, cover = precision_recall(real, samples, k=k), density_coverage(real, samples, k=k)
    assert found.precision == pytest.approx(held.any(0).mean(), abs=1e-12)
    assert found.recall == pytest.approx(back.any(0).mean(), abs=1e-12)
    assert cover.density == pytest.approx(held.sum() / (k * len(samples)), abs=1e-12)
    assert cover.coverage == pytest.approx(held.any(1).mean(), abs=1e-12)
    assert 0 < found.precision < 1 and 0 < found.recall < 1 and 0 < cover.coverage < 1


def test_a_set_against_itself_lies_in_its_balls_surface_included():
    x = 50 + rows(200, 16, 2)
    assert precision_recall(x, x).precision == precision_recall(x, x).recall == 1
    cover = density_coverage(x, x, k=5)
    # each ball holds its centre and five neighbours, the fifth on its surface
    assert cover.density == pytest.approx(6 / 5) and cover.coverage == 1


def test_a_ball_of_equal_rows_is_a_point():
    real = torch.zeros(4, 2).double()
    samples = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.0, 0.0], [0.0, 1e-3]])
    assert precision_recall(real, samples).precision == 0.5
    assert density_coverage(real, samples, k=2).density == pytest.approx(4 * 2 / (2 * 4))


def test_one_axis_by_hand():
    real = torch.tensor([[0.0], [1.0], [2.0], [10.0]])
    samples = torch.tensor([[3.0], [5.0], [30.0]])
    # balls to the nearest other: [-1, 1], [0, 2], [1, 3], [2, 18]
    cover = density_coverage(real, samples, k=1)
    assert cover.density == pytest.approx((2 + 1 + 0) / 3) and cover.coverage == 0.5
    found = precision_recall(real, samples, k=1)
    # of the samples: [1, 5], [3, 7], [5, 55]
    assert found.precision == pytest.approx(2 / 3) and found.recall == 0.75


def test_dropped_modes_cost_recall_and_outliers_precision():
    real = torch.cat([rows(100, 3, 0), rows(100, 3, 1, mean=50.0)])
    one_mode, outliers = rows(200, 3, 2), torch.cat([real, rows(200, 3, 3, mean=-900.0)])
    dropped, strayed = precision_recall(real, one_mode), precision_recall(real, outliers)
    assert dropped.precision > 0.8 and dropped.recall <= 0.5
    assert strayed.precision == 0.5 and strayed.recall == 1
    assert density_coverage(real, one_mode).coverage <= 0.5


def test_there_must_be_more_rows_than_neighbours():
    with pytest.raises(ValueError, match="k is 3, but there are 2 neighbours"):
        precision_recall(rows(9, 2, 0), rows(3, 2, 1))
    assert density_coverage(rows(9, 2, 0), rows(3, 2, 1)).k == 5
