"""Apply a function to large data in overlapping tiles, blended so that no seam shows."""

from __future__ import annotations

from collections.abc import Callable
from itertools import product
from types import EllipsisType

import torch
from torch import Tensor


def tiled(
    f: Callable[[Tensor], Tensor], x: Tensor, *, tile: int, overlap: int, ratio: tuple[int, int]
) -> Tensor:
    """f(x) for x [B, C, *spatial], computed in tiles of at most `tile` positions per axis.

    ratio: (a, b): the output is a / b times the size of x. Where tiles overlap, their weights rise
    linearly over `overlap` positions, for a gradual transition. If x fits into one tile, this is a
    single call of f.
    """
    spans = [_spans(size, tile, overlap) for size in x.shape[2:]]
    if all(len(axis) == 1 for axis in spans):
        return f(x)
    up, down = ratio
    total: Tensor | None = None
    for place in product(*spans):
        piece = f(x[_all_of([slice(a, b) for a, b in place])])
        if total is None:
            sizes = [size * up // down for size in x.shape[2:]]
            total = piece.new_zeros(*piece.shape[:2], *sizes)
            weights = piece.new_zeros(sizes)
        where = [slice(a * up // down, b * up // down) for a, b in place]
        weight = _weight(place, x.shape[2:], overlap, up, down, piece)
        total[_all_of(where)] += piece * weight
        weights[_all_of(where)] += weight
    assert total is not None
    return total / weights


def _all_of(where: list[slice]) -> tuple[slice | EllipsisType, ...]:
    return (..., *where)


def _spans(size: int, tile: int, overlap: int) -> list[tuple[int, int]]:
    """[begin, end) of the tiles along an axis; the last one ends where the axis ends."""
    if size <= tile:
        return [(0, size)]
    starts = [*range(0, size - tile, tile - overlap), size - tile]
    return [(start, start + tile) for start in starts]


def _weight(
    place: tuple[tuple[int, int], ...],
    sizes: torch.Size,
    overlap: int,
    up: int,
    down: int,
    like: Tensor,
) -> Tensor:
    """The weight of a tile at each position: 1, decreasing towards ends that have a neighbour."""
    weight = like.new_ones(())
    for axis, ((begin, end), size) in enumerate(zip(place, sizes, strict=True)):
        length, ramp = (end - begin) * up // down, overlap * up // down
        along = torch.arange(length, device=like.device, dtype=like.dtype)
        line = torch.ones_like(along)
        if begin > 0:
            line = torch.minimum(line, (along + 1) / (ramp + 1))
        if end < size:
            line = torch.minimum(line, (length - along) / (ramp + 1))
        weight = weight * line.view(-1, *(1,) * (len(place) - 1 - axis))
    return weight
