"""The channels of a network's levels, which here are multiples of one width."""

from __future__ import annotations

from collections.abc import Sequence


def multiples(channels: Sequence[int], where: str) -> tuple[int, tuple[int, ...]]:
    """(width, multipliers) of the levels' channels; ValueError unless all divide by the first."""
    width = channels[0] if channels else 0
    if width < 1 or any(c % width for c in channels):
        raise ValueError(
            f"{where} has levels of {list(channels)} channels: here each is a multiple of the first"
        )
    return width, tuple(c // width for c in channels)
