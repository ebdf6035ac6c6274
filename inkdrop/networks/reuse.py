"""Deep features reused between calls, as neighbouring steps of a sampler allow. Ma et al. 2023."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from torch import Tensor, nn

from inkdrop.cond import Cond


@runtime_checkable
class Deep(Protocol):
    """A U-Net, whoever computes it; `networks.unet.UNet` says what these are."""

    @property
    def levels(self) -> int: ...
    def deep(self, x: Tensor, t: Tensor, cond: Cond, outer: int) -> tuple[Tensor, Tensor]: ...
    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor: ...


@dataclass
class _Kept:
    """The map that enters the shallow levels on the way up, for one condition."""

    cond: Cond
    map: Tensor
    age: int = 0


class Reused(nn.Module):
    """A U-Net whose deep levels run every `every` calls only; DeepCache (Ma et al. 2023), eq. 9.

    Between, the outer `shallow` levels run on the present x and t, and the map that comes up from
    below them is the last one computed for the same condition. It holds the state of one run, so
    make it anew for every run; the U-Net itself is not changed. What it saves is the share of the
    deep levels in the arithmetic, and it costs some likeness to the full network, more with fewer
    steps.
    """

    def __init__(self, network: nn.Module, every: int, shallow: int = 1) -> None:
        super().__init__()
        if not isinstance(network, Deep):
            raise ValueError(
                f"features can be reused in a U-Net only, and this is a {type(network).__name__}"
            )
        if not 1 <= shallow < network.levels:
            raise ValueError(
                f"shallow is {shallow}: of {network.levels} levels, 1 to"
                f" {network.levels - 1} can run in every call"
            )
        self.network: Deep = network
        self.every, self.shallow = every, shallow
        self._kept: dict[int, _Kept] = {}

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial], as the U-Net."""
        # A run asks with the same few conditions all the time: guided, plain, one after the other.
        kept = self._kept.get(id(cond))
        if kept is None or kept.age + 1 >= self.every or len(kept.map) != len(x):
            out, h = self.network.deep(x, t, cond, self.shallow)
            self._kept[id(cond)] = _Kept(cond, h)
            return out
        kept.age += 1
        return self.network.shallow(x, t, cond, kept.map, self.shallow)
