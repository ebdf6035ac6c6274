"""The channels of a network's levels as multiples of one width."""

from __future__ import annotations

from collections.abc import Sequence

from inkdrop.config import short


def multiples(channels: Sequence[int], where: str) -> tuple[int, tuple[int, ...]]:
    """(width, multipliers) for the levels' channels; ValueError unless the first divides all."""
    width = channels[0] if channels else 0
    if width < 1 or any(c % width for c in channels):
        raise ValueError(
            f"{where} has levels of {short(list(channels))} channels, but each must be a multiple"
            " of the first"
        )
    return width, tuple(c // width for c in channels)
