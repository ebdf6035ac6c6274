"""Fidelity and diversity of samples, from balls around rows that reach the k-th neighbour.

Precision and recall: Kynkaanniemi et al. 2019. Density and coverage: Naeem et al. 2020. A row's
ball reaches to the k-th nearest other row of its own set and is closed, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.evaluate.matrix import matrices, neighbours, squared_distances


@dataclass(frozen=True)
class PrecisionRecall:
    """In [0, 1]: share of samples in balls of real rows, and of real rows in balls of samples."""

    precision: float
    recall: float
    k: int


@dataclass(frozen=True)
class DensityCoverage:
    """density: mean number of real balls around a sample, divided by k; may exceed 1.

    coverage: the share of real balls that contain a sample, in [0, 1].
    """

    density: float
    coverage: float
    k: int


def precision_recall(real: Tensor, samples: Tensor, *, k: int = 3) -> PrecisionRecall:
    """For features [N, D] and [M, D]; Kynkaanniemi et al. 2019, eq. 1 and 2, with their k = 3.

    ValueError for different dimensions, or a set of at most k rows.
    """
    real, samples = matrices(real, samples)
    found, recalled = (_holding(x, y, k) for x, y in ((real, samples), (samples, real)))
    return PrecisionRecall(_share(found.around > 0), _share(recalled.around > 0), k)


def density_coverage(real: Tensor, samples: Tensor, *, k: int = 5) -> DensityCoverage:
    """For features [N, D] and [M, D]; Naeem et al. 2020, section 3, with their k = 5.

    ValueError for different dimensions, or at most k real rows.
    """
    real, samples = matrices(real, samples)
    held = _holding(real, samples, k)
    return DensityCoverage(float(held.around.double().mean()) / k, _share(held.inside > 0), k)


@dataclass(frozen=True, eq=False)
class _Held:
    """around [M]: number of balls that contain each point; inside [N]: of points in each ball."""

    around: Tensor
    inside: Tensor


def _holding(centres: Tensor, points: Tensor, k: int) -> _Held:
    """Which balls around `centres` [N, D] contain which `points` [M, D], counted both ways."""
    reach = neighbours(centres, k=k).distance.square()
    around = torch.empty(len(points), dtype=torch.int64, device=points.device)
    inside = torch.zeros(len(centres), dtype=torch.int64, device=points.device)
    for rows, squared, rounding in squared_distances(points, centres):
        # Balls are closed, so a point on the surface must not be lost to rounding.
        holds = squared <= reach + rounding
        around[rows] = holds.sum(1)
        inside += holds.sum(0)
    return _Held(around, inside)


def _share(counted: Tensor) -> float:
    return float(counted.double().mean())
