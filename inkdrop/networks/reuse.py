"""Deep features reused between calls, as neighbouring steps of a sampler allow. Ma et al. 2023."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.networks.unet import UNet


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
        if not isinstance(network, UNet):
            raise ValueError(
                f"features can be reused in a U-Net only, and this is a {type(network).__name__}"
            )
        if not 1 <= shallow < network.config.levels:
            raise ValueError(
                f"shallow is {shallow}: of {network.config.levels} levels, 1 to"
                f" {network.config.levels - 1} can run in every call"
            )
        self.network, self.every, self.shallow = network, every, shallow
        self._kept: dict[int, _Kept] = {}

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial], as the U-Net."""
        network, levels = self.network, self.network.config.levels
        context = network.context(t, cond)
        x, crop = network.prepared(x, cond)
        # A run asks with the same few conditions all the time: guided, plain, one after the other.
        kept = self._kept.get(id(cond))
        if kept is None or kept.age + 1 >= self.every or len(kept.map) != len(x):
            h, skips = network.encode(x, context)
            h = network.middle(h, context)
            h = network.decode(h, skips, context, range(levels - 1, self.shallow - 1, -1))
            self._kept[id(cond)] = _Kept(cond, h)
        else:
            kept.age += 1
            h, skips = kept.map, network.encode(x, context, self.shallow)[1]
        h = network.decode(h, skips, context, range(self.shallow - 1, -1, -1))
        return network.finished(h, crop)
