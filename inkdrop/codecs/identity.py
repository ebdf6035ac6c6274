"""Pixels are the identity codec: diffusion happens on the data itself."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Identity:
    """encode and decode return what they are given; data [B, C, *spatial] in [-1, 1]."""

    def encode(self, data: Tensor) -> Tensor:
        return data

    def decode(self, z: Tensor) -> Tensor:
        return z

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """[C, *spatial] of what diffusion sees, for data of a shape."""
        return data
