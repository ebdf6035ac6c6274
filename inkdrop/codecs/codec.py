"""The interface of a codec: maps data to the space in which diffusion runs, and back."""

from __future__ import annotations

from typing import Any, Protocol

from torch import Tensor, nn


class Codec(Protocol):
    """Data [B, C, *sizes] in [-1, 1] <-> code [B, *shape(data.shape[1:])] for diffusion."""

    @property
    def config(self) -> Any:
        """The frozen dataclass that it is built from; the registry knows its class."""
        ...

    @property
    def module(self) -> nn.Module | None:
        """The module with its weights; None for a codec without weights."""
        ...

    @property
    def factor(self) -> int:
        """Data positions per position of the code, along every axis."""
        ...

    def encode(self, data: Tensor) -> Tensor:
        """[B, C, *sizes] in [-1, 1] -> the code [B, *shape]; the mean of a distribution."""
        ...

    def decode(self, z: Tensor) -> Tensor:
        """A code [B, *shape] -> data [B, C, *sizes], roughly in [-1, 1]."""
        ...

    def sample(self, data: Tensor, noise: Tensor) -> Tensor:
        """Codes drawn from the posterior given the data, one for each unit Gaussian [B, *shape]."""
        ...

    def unscaled(self, z: Tensor) -> Tensor:
        """The autoencoder's own code, before normalisation to mean 0 and standard deviation 1."""
        ...

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """The shape [C, *sizes] of the code for data [C, *sizes]; ValueError if impossible."""
        ...
