"""The tiny autoencoder of the TAESD family, without norms or attention, over 1, 2 or 3 axes."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.autoencoder_config import check_sizes
from inkdrop.networks.layers import conv
from inkdrop.networks.resample import Upsample

# The decoder squashes its input smoothly into (-LIMIT, LIMIT), as in TAESD.
LIMIT = 3.0


@dataclass(frozen=True)
class TAESDConfig:
    """Configuration of a TAESD; each side of the code is 1 / factor of the data's.

    dims: spatial axes: 1 for sound, 2 for pictures, 3 for volumes
    channels: of the data; latent_channels: of the code
    width: channels of every level
    encoder_blocks, decoder_blocks: blocks per level, in the order of computation
    ValueError for values that fit no network.
    """

    dims: int = 2
    channels: int = 3
    latent_channels: int = 4
    width: int = 64
    encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)

    def __post_init__(self) -> None:
        if self.dims not in (1, 2, 3):
            raise ValueError(f"dims is {self.dims} but must be 1, 2 or 3")
        for name in ("channels", "latent_channels", "width"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)} but must be at least 1")
        if not self.encoder_blocks or len(self.encoder_blocks) != len(self.decoder_blocks):
            raise ValueError(
                f"encoder_blocks is {self.encoder_blocks} and decoder_blocks is"
                f" {self.decoder_blocks}: both need one number for each level"
            )

    @property
    def factor(self) -> int:
        """Data positions per position of the code, along each axis."""
        return int(2 ** (len(self.encoder_blocks) - 1))


class TAESD(nn.Module):
    """Data [B, C, *spatial] in [-1, 1] <-> code [B, latent_channels, *spatial / factor].

    Its code is that of a larger autoencoder after scaling to a standard deviation of about 1, so it
    needs no further shift or scale.
    """

    def __init__(self, config: TAESDConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder, self.decoder = _encoder(config), _decoder(config)

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, *spatial] -> [B, latent_channels, *spatial / factor].

        ValueError for a size that is not a multiple of the factor.
        """
        check_sizes(self.config, x.shape[2:])
        z: Tensor = self.encoder((x + 1) / 2)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """[B, latent_channels, *spatial] -> [B, C, *spatial * factor], roughly in [-1, 1]."""
        y: Tensor = self.decoder(torch.tanh(z / LIMIT) * LIMIT)
        return 2 * y - 1

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x."""
        return self.decode(self.encode(x))


class Block(nn.Module):
    """Residual block: three convolutions with ReLU in between, and ReLU after the sum."""

    def __init__(self, dims: int, width: int) -> None:
        super().__init__()
        first, second, third = (conv(dims, width, width) for _ in range(3))
        self.layers = nn.Sequential(first, nn.ReLU(), second, nn.ReLU(), third)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, *spatial] -> the same shape."""
        return F.relu(self.layers(x) + x)


def _encoder(config: TAESDConfig) -> nn.Sequential:
    dims, width = config.dims, config.width
    layers: list[nn.Module] = [conv(dims, config.channels, width)]
    for level, blocks in enumerate(config.encoder_blocks):
        if level:
            layers.append(conv(dims, width, width, stride=2, bias=False))
        layers += [Block(dims, width) for _ in range(blocks)]
    return nn.Sequential(*layers, conv(dims, width, config.latent_channels))


def _decoder(config: TAESDConfig) -> nn.Sequential:
    dims, width = config.dims, config.width
    layers: list[nn.Module] = [conv(dims, config.latent_channels, width), nn.ReLU()]
    for level, blocks in enumerate(config.decoder_blocks):
        if level:
            layers.append(Upsample(dims, width, bias=False))
        layers += [Block(dims, width) for _ in range(blocks)]
    return nn.Sequential(*layers, conv(dims, width, config.channels))
