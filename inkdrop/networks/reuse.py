"""DeepCache: deep features reused between neighbouring steps of a sampler. Ma et al. 2023."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from inkdrop.cond import Cond


@runtime_checkable
class Deep(Protocol):
    """The interface of a U-Net that reuse needs, on any engine; see `networks.unet.UNet`."""

    @property
    def levels(self) -> int: ...
    def deep(self, x: Tensor, t: Tensor, cond: Cond, outer: int) -> tuple[Tensor, Tensor]: ...
    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor: ...


@dataclass
class _Kept:
    """The map that enters the shallow levels on the way up, for one condition; age in calls."""

    cond: Cond
    map: Tensor
    age: int = 0


class Reused(nn.Module):
    """A U-Net whose deep levels run only in every `every`-th call; Ma et al. 2023, eq. 9.

    In the other calls the outer `shallow` levels run on the current x and t, and the map from the
    levels below them is the last one computed for the same condition. This holds the state of one
    run, so make a new one for every run; the U-Net itself is unchanged. It saves the arithmetic of
    the deep levels and deviates somewhat from the full network, more so with fewer steps.

    ValueError for another network, or a `shallow` that is not from 1 to levels - 1.
    """

    def __init__(self, network: nn.Module, every: int, shallow: int = 1) -> None:
        super().__init__()
        if not isinstance(network, Deep):
            raise ValueError(
                f"the network is a {type(network).__name__}, but only a U-Net's features can be"
                " reused; turn reuse off"
            )
        if not 1 <= shallow < network.levels:
            raise ValueError(
                f"shallow is {shallow}, but this network has {network.levels} levels; give 1 to"
                f" {network.levels - 1}"
            )
        self.network: Deep = network
        self.every, self.shallow = every, shallow
        self._kept: dict[int, _Kept] = {}

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial], as in the U-Net."""
        # A run passes the same few Cond objects in every step (such as the condition and the null
        # condition in turn), so their identity is the key of the cache.
        kept = self._kept.get(id(cond))
        if kept is None or kept.age + 1 >= self.every or len(kept.map) != len(x):
            out, h = self.network.deep(x, t, cond, self.shallow)
            self._kept[id(cond)] = _Kept(cond, h)
            return out
        kept.age += 1
        return self.network.shallow(x, t, cond, kept.map, self.shallow)
