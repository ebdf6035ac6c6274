"""Kernel distance (KID): squared maximum mean discrepancy (Binkowski et al. 2018, section 4)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.noise import generator
from inkdrop.evaluate.matrix import blocks, matrices


@dataclass(frozen=True)
class KernelDistance:
    """Mean over `subsets` pairs of subsets of `size` rows each, and its standard error.

    The error is only that of drawing subsets: it falls with their number even when they overlap,
    whereas the error due to the finite data does not.
    """

    mean: float
    error: float
    subsets: int
    size: int


def kernel_distance(a: Tensor, b: Tensor) -> float:
    """Unbiased MMD^2 of features a [N, D] and b [M, D], with the kernel (x.y / D + 1)^3.

    Gretton et al. 2012, eq. 3. Its expectation is 0 for equal distributions, so a value may be
    negative. ValueError for fewer than two rows or different dimensions.
    """
    a, b = matrices(a, b, least=2)
    return _unbiased(a, b)


def subset_kernel_distance(
    a: Tensor, b: Tensor, *, subsets: int = 100, size: int = 1000, seed: int = 0
) -> KernelDistance:
    """The kernel distance of random subsets of a [N, D] and b [M, D]; a function of the seed.

    Each subset is drawn without replacement. ValueError if either has fewer than `size` rows, or
    for fewer than 2 subsets or rows.
    """
    if subsets < 2 or size < 2:
        raise ValueError(f"subsets and size are {subsets} and {size}; both must be at least 2")
    a, b = matrices(a, b, least=2)
    fewest = min(len(a), len(b))
    if fewest < size:
        raise ValueError(
            f"size is {size} but there are only {fewest} samples; give more samples, or a size of"
            f" at most {fewest}"
        )
    values = []
    for number in range(subsets):
        draw = generator(seed, "kernel distance", number)
        some = (x[torch.randperm(len(x), generator=draw)[:size].to(x.device)] for x in (a, b))
        values.append(_unbiased(*some))
    found = torch.tensor(values, dtype=torch.float64)
    return KernelDistance(float(found.mean()), float(found.std()) / subsets**0.5, subsets, size)


def _unbiased(a: Tensor, b: Tensor) -> float:
    n, m = len(a), len(b)
    own = sum(_others(x) / (len(x) * (len(x) - 1)) for x in (a, b))
    return own - 2 * _total(a, b) / (n * m)


def _kernel(products: Tensor, dim: int) -> Tensor:
    return (products / dim + 1) ** 3


def _total(x: Tensor, y: Tensor) -> float:
    """Sum of the kernel over all pairs."""
    parts = (_kernel(x[rows] @ y.T, x.shape[1]).sum() for rows in blocks(len(x), len(y)))
    return float(sum(parts))


def _others(x: Tensor) -> float:
    """Sum of the kernel over all pairs of different rows; the diagonal would bias the estimate."""
    return _total(x, x) - float(_kernel(x.square().sum(1), x.shape[1]).sum())
