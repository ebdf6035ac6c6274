"""A patch discriminator: classifies each patch of a picture as real or reconstructed."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.layers import GroupNorm, conv


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Configuration of a discriminator.

    dims, channels: of the data
    width: channels of the first layer; each further layer doubles them, up to 8 * width
    layers: number of layers that halve the size (3: a receptive field of 31 positions)
    ValueError for numbers below 1.
    """

    dims: int = 2
    channels: int = 3
    width: int = 32
    layers: int = 3

    def __post_init__(self) -> None:
        for name in ("dims", "channels", "width", "layers"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)} but must be at least 1")


class Discriminator(nn.Module):
    """Data [B, C, *spatial] -> [B, 1, *patches], above 0 for real. Isola et al. 2017, section 3.2.

    Group norm instead of the paper's batch norm, so a sample's logits depend on no other sample.
    """

    def __init__(self, config: DiscriminatorConfig) -> None:
        super().__init__()
        self.config = config
        widths = [config.width * min(2**layer, 8) for layer in range(config.layers)]
        pairs = list(zip([config.channels, *widths], widths, strict=False))
        self.halves = nn.ModuleList(conv(config.dims, a, b, stride=2) for a, b in pairs)
        self.norms = nn.ModuleList(GroupNorm(1, width) for width in widths[1:])
        self.output = conv(config.dims, widths[-1], 1)

    def forward(self, x: Tensor) -> Tensor:
        """[B, C, *spatial] -> logits [B, 1, *patches]."""
        for layer, half in enumerate(self.halves):
            x = half(x)
            x = F.leaky_relu(self.norms[layer - 1](x) if layer else x, 0.2)
        y: Tensor = self.output(x)
        return y
