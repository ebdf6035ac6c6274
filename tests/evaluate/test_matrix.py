"""Features are checked; neighbours against scikit-learn's trees, equal rows, and small blocks."""

from __future__ import annotations

import pytest
import torch
from sklearn.neighbors import NearestNeighbors
from torch import Tensor

from inkdrop.evaluate import matrix as m


def rows(n: int, dim: int, seed: int) -> Tensor:
    return torch.randn(n, dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("far", [0.0, 1e4])
@pytest.mark.parametrize("k", [1, 4])
def test_neighbours_are_those_of_a_tree(k: int, far: float, monkeypatch: pytest.MonkeyPatch):
    x, y = rows(90, 5, 0) + far, rows(70, 5, 1) + far
    tree = NearestNeighbors(algorithm="kd_tree").fit(y.numpy())
    distance, index = (torch.from_numpy(a[:, -1]) for a in tree.kneighbors(x.numpy(), k))
    monkeypatch.setattr(m, "BLOCK", 700)  # ten rows a block
    found = m.neighbours(x, y, k=k)
    torch.testing.assert_close(found.distance, distance, rtol=1e-11, atol=0)
    assert torch.equal(found.index, index)


@pytest.mark.parametrize("k", [1, 3])
def test_a_row_is_no_neighbour_of_itself(k: int, monkeypatch: pytest.MonkeyPatch):
    x = rows(80, 6, 2)
    tree = NearestNeighbors(algorithm="kd_tree").fit(x.numpy())
    # asked without points, scikit-learn leaves each out of its own neighbours
    distance, index = (torch.from_numpy(a[:, -1]) for a in tree.kneighbors(n_neighbors=k))
    monkeypatch.setattr(m, "BLOCK", 800)
    found = m.neighbours(x, k=k)
    torch.testing.assert_close(found.distance, distance, rtol=1e-11, atol=0)
    assert torch.equal(found.index, index)


def test_but_an_equal_row_is_at_exactly_zero():
    x = 1e3 + rows(5, 7, 3)
    twice = torch.cat([x, x])
    found = m.neighbours(twice)
    assert found.distance.tolist() == [0.0] * 10
    assert found.index.tolist() == [5, 6, 7, 8, 9, 0, 1, 2, 3, 4]


def test_float32_features_are_compared_in_float64():
    x = torch.tensor([[1.0], [1.0 + 2**-23]])
    a, b = m.matrices(x[:1], x[1:])
    assert m.neighbours(a, b).distance.tolist() == [2.0**-23]


@pytest.mark.parametrize("k", [0, 5])
def test_there_must_be_k_others(k: int):
    with pytest.raises(ValueError, match=f"k is {k}, but there are 4 neighbours"):
        m.neighbours(rows(5, 2, 0), k=k)
    if k:
        assert m.neighbours(rows(9, 2, 1), rows(5, 2, 0), k=k).index.shape == (9,)


@pytest.mark.parametrize("shape", [(5,), (2, 3), (3, 0), (3, 4, 5)])
def test_other_shapes_are_refused(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"give \[N, D\] with N at least 3"):
        m.matrix(torch.zeros(shape), least=3)


def test_values_and_dimensions_are_checked():
    with pytest.raises(ValueError, match="NaN or an infinity"):
        m.matrix(torch.tensor([[torch.inf]]))
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        m.matrices(rows(4, 2, 0), rows(4, 3, 0))
