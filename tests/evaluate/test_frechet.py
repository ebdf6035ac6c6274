"""The Frechet distance against closed forms, its symmetries, and scipy's matrix root."""

from __future__ import annotations

import pytest
import torch
from scipy.linalg import sqrtm
from torch import Tensor

from inkdrop.evaluate.frechet import Gaussian, fit, frechet_distance


def gaussian(mean: list[float], cov: Tensor) -> Gaussian:
    return Gaussian(torch.tensor(mean, dtype=torch.float64), cov.double())


def random_gaussian(dim: int, seed: int, *, rank: int | None = None) -> Gaussian:
    rng = torch.Generator().manual_seed(seed)
    root = torch.randn(dim, rank or dim, generator=rng, dtype=torch.float64)
    return Gaussian(torch.randn(dim, generator=rng, dtype=torch.float64), root @ root.T)


def by_scipy(a: Gaussian, b: Gaussian) -> float:
    cross = torch.as_tensor(sqrtm((a.cov @ b.cov).numpy()).real).trace()
    gap = (a.mean - b.mean).square().sum()
    return float(gap + a.cov.trace() + b.cov.trace() - 2 * cross)


def test_one_dimension_is_the_distance_of_means_and_spreads():
    a, b = gaussian([1.0], torch.tensor([[4.0]])), gaussian([-2.0], torch.tensor([[0.25]]))
    assert frechet_distance(a, b) == pytest.approx(3.0**2 + (2.0 - 0.5) ** 2, rel=1e-12)


def test_scaled_identities():
    a, b = gaussian([0.0] * 5, 9 * torch.eye(5)), gaussian([0.0] * 5, 4 * torch.eye(5))
    assert frechet_distance(a, b) == pytest.approx(5 * (3 - 2) ** 2, rel=1e-12)


def test_commuting_covariances_compare_axis_by_axis():
    rng = torch.Generator().manual_seed(0)
    axes = torch.linalg.qr(torch.randn(6, 6, generator=rng, dtype=torch.float64)).Q
    p, q = torch.rand(2, 6, generator=rng, dtype=torch.float64)
    a, b = (Gaussian(torch.zeros(6).double(), axes @ v.diag() @ axes.T) for v in (p, q))
    expected = (p.sqrt() - q.sqrt()).square().sum()
    assert frechet_distance(a, b) == pytest.approx(float(expected), rel=1e-10)


@pytest.mark.parametrize("dim", [1, 2, 7, 64])
def test_agrees_with_scipy(dim):
    a, b = random_gaussian(dim, 1), random_gaussian(dim, 2)
    assert frechet_distance(a, b) == pytest.approx(by_scipy(a, b), rel=1e-9)


def test_symmetric_and_zero_to_itself():
    a, b = random_gaussian(12, 3), random_gaussian(12, 4)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-11)
    assert frechet_distance(a, a) == pytest.approx(0.0, abs=1e-10)


def test_unchanged_when_both_are_turned_and_moved():
    a, b = random_gaussian(8, 5), random_gaussian(8, 6)
    rng = torch.Generator().manual_seed(7)
    turn = torch.linalg.qr(torch.randn(8, 8, generator=rng, dtype=torch.float64)).Q
    turned = [Gaussian(turn @ g.mean + 3, turn @ g.cov @ turn.T) for g in (a, b)]
    assert frechet_distance(*turned) == pytest.approx(frechet_distance(a, b), rel=1e-11)


def test_without_full_rank_the_lower_dimension_decides():
    a, b = random_gaussian(3, 8), random_gaussian(3, 9)
    rng = torch.Generator().manual_seed(10)
    into = torch.linalg.qr(torch.randn(20, 3, generator=rng, dtype=torch.float64)).Q
    wide = [Gaussian(into @ g.mean, into @ g.cov @ into.T) for g in (a, b)]
    assert frechet_distance(*wide) == pytest.approx(frechet_distance(a, b), rel=1e-10)


def test_orthogonal_spaces_share_nothing():
    a = gaussian([0.0, 0.0], torch.diag(torch.tensor([2.0, 0.0])))
    b = gaussian([0.0, 0.0], torch.diag(torch.tensor([0.0, 5.0])))
    assert frechet_distance(a, b) == pytest.approx(7.0, rel=1e-12)


def test_constant_features_are_allowed():
    a, b = fit(torch.zeros(4, 3)), fit(torch.ones(4, 3))
    assert frechet_distance(a, b) == pytest.approx(3.0, rel=1e-12)


def test_fit_is_the_mean_and_unbiased_covariance_in_float64():
    rng = torch.Generator().manual_seed(11)
    x = torch.randn(50, 4, generator=rng) + 1000
    g = fit(x)
    assert g.mean.dtype == g.cov.dtype == torch.float64
    torch.testing.assert_close(g.mean, x.double().mean(0))
    torch.testing.assert_close(g.cov, torch.cov(x.double().T))


@pytest.mark.parametrize("shape", [(5,), (1, 3), (2, 3, 4)])
def test_fit_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        fit(torch.zeros(shape))


def test_fit_refuses_what_is_not_a_number():
    with pytest.raises(ValueError, match="NaN"):
        fit(torch.tensor([[1.0], [float("nan")]]))


def test_dimensions_must_agree():
    with pytest.raises(ValueError, match="2 and 3 dimensions"):
        frechet_distance(random_gaussian(2, 0), random_gaussian(3, 0))
