"""The identity codec, for diffusion in pixel space."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn


@dataclass(frozen=True)
class Identity:
    """The code is the data itself, [B, C, *sizes] in [-1, 1]."""

    @property
    def config(self) -> Identity:
        return self

    @property
    def module(self) -> nn.Module | None:
        return None

    @property
    def factor(self) -> int:
        return 1

    def encode(self, data: Tensor) -> Tensor:
        return data

    def decode(self, z: Tensor) -> Tensor:
        return z

    def sample(self, data: Tensor, noise: Tensor) -> Tensor:
        return data.expand_as(noise)

    def unscaled(self, z: Tensor) -> Tensor:
        return z

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        return data
