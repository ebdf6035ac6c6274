"""What a codec is: the way from data space to the space in which diffusion happens, and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Codec(Protocol):
    """Data [B, C, *sizes] in [-1, 1] <-> what diffusion sees, [B, *shape(data's shape)]."""

    @property
    def config(self) -> Any:
        """The frozen dataclass that it is made from; the registry knows its class."""
        ...

    @property
    def module(self) -> nn.Module | None:
        """What holds its weights; None for a codec without any."""
        ...

    @property
    def factor(self) -> int:
        """How many places of the data one place of the code stands for, along every axis."""
        ...

    def encode(self, data: Tensor) -> Tensor: ...

    def decode(self, z: Tensor) -> Tensor: ...

    def sample(self, data: Tensor, noise: Tensor) -> Tensor:
        """Codes drawn from what is said of the data, one for each noise [B, *code's shape]."""
        ...

    def unscaled(self, z: Tensor) -> Tensor:
        """The code as the autoencoder says it, before it is brought to mean 0 and spread 1."""
        ...

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """[C, *sizes] of the code for data of a shape; ValueError for one it cannot make."""
        ...
