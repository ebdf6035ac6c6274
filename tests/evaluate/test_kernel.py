"""The kernel distance against scikit-learn's kernel, a double loop, and its expectation."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import polynomial_kernel
from torch import Tensor

from inkdrop.evaluate import matrix
from inkdrop.evaluate.kernel import kernel_distance, subset_kernel_distance


def rows(n: int, dim: int, seed: int, mean: float = 0.0) -> Tensor:
    draw = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, dim, generator=draw, dtype=torch.float64)


def by_sklearn(a: Tensor, b: Tensor) -> float:
    x, y = a.numpy(), b.numpy()
    own = 0.0
    for z in (x, y):
        k = polynomial_kernel(z, degree=3, coef0=1)  # gamma is 1 / D
        own += k[~np.eye(len(z), dtype=bool)].mean()
    return float(own - 2 * polynomial_kernel(x, y, degree=3, coef0=1).mean())


@pytest.mark.parametrize(("n", "m"), [(2, 2), (30, 50)])
def test_agrees_with_the_kernel_of_sklearn(n: int, m: int, monkeypatch: pytest.MonkeyPatch):
    a, b = rows(n, 6, 0), rows(m, 6, 1, mean=0.3)
    monkeypatch.setattr(matrix, "BLOCK", 120)
    assert kernel_distance(a, b) == pytest.approx(by_sklearn(a, b), rel=1e-12)
    assert kernel_distance(a, b) == pytest.approx(kernel_distance(b, a), rel=1e-12)


def test_two_rows_by_hand():
    a, b = torch.tensor([[1.0], [2.0]]), torch.tensor([[0.0], [-1.0]])
    # k(1,2) = 27; k(0,-1) = 1; k(1,0) = k(2,0) = 1, k(1,-1) = 0, k(2,-1) = -1
    assert kernel_distance(a, b) == pytest.approx(27 + 1 - 2 * (1 + 1 + 0 - 1) / 4)


def test_unbiased_of_one_distribution_and_large_of_two():
    same = [kernel_distance(rows(20, 4, 2 * i), rows(20, 4, 2 * i + 1)) for i in range(400)]
    error = np.std(same, ddof=1) / 20
    assert min(same) < 0 and abs(np.mean(same)) < 3 * error
    assert kernel_distance(rows(20, 4, 0), rows(20, 4, 1, mean=2.0)) > 10 * np.std(same)


def test_a_subset_of_all_rows_is_the_whole_distance():
    a, b = rows(20, 3, 0), rows(20, 3, 1)
    found = subset_kernel_distance(a, b, subsets=4, size=20)
    assert found.mean == pytest.approx(kernel_distance(a, b), rel=1e-10)
    assert found.error == pytest.approx(0.0, abs=1e-12)
    assert (found.subsets, found.size) == (4, 20)


def test_subsets_are_around_the_whole_and_the_error_falls_with_their_number():
    a, b = rows(300, 5, 0), rows(200, 5, 1, mean=0.5)
    few, many = (subset_kernel_distance(a, b, subsets=n, size=40) for n in (25, 400))
    assert abs(many.mean - kernel_distance(a, b)) < 4 * many.error
    assert few.error / many.error == pytest.approx(4, rel=0.4)


def test_the_seed_decides():
    a, b = rows(60, 3, 0), rows(60, 3, 1)
    first, again, other = (
        subset_kernel_distance(a, b, subsets=5, size=20, seed=s) for s in (0, 0, 1)
    )
    assert first == again and first.mean != other.mean


def test_too_few_samples_are_refused():
    with pytest.raises(ValueError, match="N at least 2"):
        kernel_distance(rows(1, 3, 0), rows(9, 3, 0))
    with pytest.raises(ValueError, match="size is 1000 but there are only 60"):
        subset_kernel_distance(rows(60, 3, 0), rows(2000, 3, 1))
    with pytest.raises(ValueError, match="1 and 10; both must be at least 2"):
        subset_kernel_distance(rows(60, 3, 0), rows(60, 3, 1), subsets=1, size=10)
