"""Feature matrices [N, D]: checks, conversion to float64, and blockwise distances."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

# Elements in one block of distances: 64 MB of float64.
BLOCK = 2**23
# Squared distances are exact to this fraction of |x|^2 + |y|^2. It corresponds to a relative
# distance of 3e-7, about the rounding of the float32 features themselves.
ROUNDING = 1e-13


@dataclass(frozen=True, eq=False)
class Neighbours:
    """One neighbour of each row: Euclidean distance [N] float64 and index [N] int64."""

    distance: Tensor
    index: Tensor


def matrix(features: Tensor, *, least: int = 1) -> Tensor:
    """The features [N, D] in float64; ValueError if N < least, D is 0 or a value is not finite."""
    if features.ndim != 2 or features.shape[1] == 0 or len(features) < least:
        shape = list(features.shape)
        raise ValueError(f"features have shape {shape}; give [N, D] with N at least {least}")
    if not features.isfinite().all():
        raise ValueError("features contain a NaN or an infinity; look for it in the pictures")
    return features.detach().double()


def matrices(a: Tensor, b: Tensor, *, least: int = 1) -> tuple[Tensor, Tensor]:
    """Both as in `matrix`; ValueError also if their dimensions D differ."""
    a, b = matrix(a, least=least), matrix(b, least=least)
    if a.shape[1] != b.shape[1]:
        raise ValueError(
            f"the features have {a.shape[1]} and {b.shape[1]} dimensions; use one feature network"
        )
    return a, b


def blocks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows such that a slice times all columns fits into one block."""
    step = max(1, BLOCK // columns)
    return (slice(start, min(start + step, rows)) for start in range(0, rows, step))


def squared_distances(x: Tensor, y: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Blocks (rows, squared distances [b, M], rounding error [b, M]) from x [N, D] to y [M, D]."""
    # Centre first: distances do not depend on the origin, but rounding grows with the norms.
    origin = y.mean(0)
    x, y = x - origin, y - origin
    xx, yy = x.square().sum(1), y.square().sum(1)
    for rows in blocks(len(x), len(y)):
        sizes = xx[rows, None] + yy
        yield rows, torch.addmm(sizes, x[rows], y.T, alpha=-2).clamp_(min=0), ROUNDING * sizes


def neighbours(x: Tensor, y: Tensor | None = None, *, k: int = 1) -> Neighbours:
    """The k-th nearest row of y [M, D] to each row of x [N, D], both from `matrices`.

    Without y, the k-th nearest of the other rows of x: a row is not its own neighbour, but an equal
    row is. ValueError if there are fewer than k.
    """
    among = x if y is None else y
    others = len(among) - (y is None)
    if not 1 <= k <= others:
        raise ValueError(f"k is {k}, but there are {others} neighbours; choose 1 to {others}")
    index = torch.empty(len(x), dtype=torch.int64, device=x.device)
    for rows, squared, _ in squared_distances(x, among):
        if y is None:
            squared.diagonal(rows.start).fill_(torch.inf)
        index[rows] = squared.topk(k, largest=False).indices[:, -1]
    # The matrix product only selects neighbours. Distances are recomputed, so that equal rows are
    # at exactly 0.
    return Neighbours((x - among[index]).square().sum(1).sqrt(), index)
