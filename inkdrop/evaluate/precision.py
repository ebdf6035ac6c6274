"""How much of the samples is real and of the real is sampled, by balls to the k-th neighbour.

Precision and recall are Kynkaanniemi et al. 2019, density and coverage Naeem et al. 2020. A row's
ball reaches to its k-th nearest neighbour in its own set, itself not counted; its surface belongs
to it, up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.evaluate.matrix import matrices, neighbours, squared_distances


@dataclass(frozen=True)
class PrecisionRecall:
    """Both in [0, 1]: the share of the samples that lie in a real ball, and the other way round."""

    precision: float
    recall: float
    k: int


@dataclass(frozen=True)
class DensityCoverage:
    """density: real balls around a sample, mean over the samples and k; may exceed 1.

    coverage: the share of the real balls that hold a sample, in [0, 1].
    """

    density: float
    coverage: float
    k: int


def precision_recall(real: Tensor, samples: Tensor, *, k: int = 3) -> PrecisionRecall:
    """Of features [N, D] and [M, D]; Kynkaanniemi et al. 2019, eq. 1 and 2, whose k is 3.

    ValueError for different dimensions, or a set without more than k rows.
    """
    real, samples = matrices(real, samples)
    found, recalled = (_holding(x, y, k) for x, y in ((real, samples), (samples, real)))
    return PrecisionRecall(_share(found.around > 0), _share(recalled.around > 0), k)


def density_coverage(real: Tensor, samples: Tensor, *, k: int = 5) -> DensityCoverage:
    """Of features [N, D] and [M, D]; Naeem et al. 2020, section 3, whose k is 5.

    ValueError for different dimensions, or if there are not more than k real rows.
    """
    real, samples = matrices(real, samples)
    held = _holding(real, samples, k)
    return DensityCoverage(float(held.around.double().mean()) / k, _share(held.inside > 0), k)


@dataclass(frozen=True, eq=False)
class _Held:
    """around [M]: balls that hold each point; inside [N]: points that each ball holds."""

    around: Tensor
    inside: Tensor


def _holding(centres: Tensor, points: Tensor, k: int) -> _Held:
    """Which balls of `centres` [N, D] hold which `points` [M, D], counted both ways."""
    reach = neighbours(centres, k=k).distance.square()
    around = torch.empty(len(points), dtype=torch.int64, device=points.device)
    inside = torch.zeros(len(centres), dtype=torch.int64, device=points.device)
    for rows, squared, rounding in squared_distances(points, centres):
        holds = squared <= reach + rounding
        around[rows] = holds.sum(1)
        inside += holds.sum(0)
    return _Held(around, inside)


def _share(counted: Tensor) -> float:
    return float(counted.double().mean())
