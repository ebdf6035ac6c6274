"""Frechet distance between Gaussians fitted to two sets of features (Heusel et al. 2017)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.evaluate.matrix import matrix


@dataclass(frozen=True, eq=False)
class Gaussian:
    """Mean [D] and covariance [D, D], both float64."""

    mean: Tensor
    cov: Tensor


def fit(features: Tensor) -> Gaussian:
    """The mean and unbiased covariance of features [N, D]; ValueError unless N is at least 2."""
    x = matrix(features, least=2)
    mean = x.mean(0)
    centred = x - mean
    return Gaussian(mean, centred.T @ centred / (len(x) - 1))


def frechet_distance(a: Gaussian, b: Gaussian) -> float:
    """|m_a - m_b|^2 + tr(A + B - 2 (A B)^1/2), at least 0; Dowson and Landau 1982, eq. 4.

    ValueError for different dimensions.
    """
    if a.mean.shape != b.mean.shape:
        na, nb = len(a.mean), len(b.mean)
        raise ValueError(f"the Gaussians have {na} and {nb} dimensions; use one feature network")
    # A B is similar to A^1/2 B A^1/2, which is symmetric, so its eigenvalues are real and >= 0.
    # That holds for rank-deficient covariances too, where iterations for (A B)^1/2 do not converge.
    root = _root(a.cov)
    cross = _clean(torch.linalg.eigvalsh(root @ b.cov @ root)).sqrt().sum()
    total = (a.mean - b.mean).square().sum() + a.cov.trace() + b.cov.trace() - 2 * cross
    return max(0.0, float(total))


def _root(matrix: Tensor) -> Tensor:
    """The symmetric square root of a positive semi-definite matrix [D, D]."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * _clean(values).sqrt()) @ vectors.T
    return root


def _clean(values: Tensor) -> Tensor:
    """Eigenvalues, with those that are only rounding errors, of either sign, set to zero."""
    # A zero eigenvalue comes out as about eps = 1e-16, whose square root would be 1e-8.
    floor = values.abs().max() * torch.finfo(values.dtype).eps * len(values)
    return torch.where(values > floor, values, torch.zeros_like(values))
