"""Autoencoders for latent diffusion, with a Gaussian or a quantized code, over 1, 2 or 3 axes."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.attention import AttentionBlock
from inkdrop.networks.autoencoder_config import AutoencoderConfig, check_sizes
from inkdrop.networks.layers import Conv, conv, zeroed
from inkdrop.networks.resample import Downsample, Upsample, unpatch
from inkdrop.networks.resblock import BlockStyle, ResBlock


class Gaussian(NamedTuple):
    """The posterior of the code: mean and log variance, [B, C, *spatial] each."""

    mean: Tensor
    logvar: Tensor

    def sample(self, noise: Tensor) -> Tensor:
        """mean + std * noise, [B, C, *spatial]."""
        return self.mean + (self.logvar / 2).exp() * noise

    def kl(self) -> Tensor:
        """KL to the unit Gaussian in nats, [B], summed over a sample. Kingma & Welling, app. B."""
        terms = self.mean.square() + self.logvar.exp() - 1 - self.logvar
        return terms.flatten(1).sum(1) / 2


class Quantized(NamedTuple):
    """The nearest codebook entries. Van den Oord et al. 2017, eq. 3.

    code [B, C, *spatial]: their vectors, with a straight-through gradient to the encoder's output
    entry [B, *spatial] int64: their indices
    commitment, codebook [B]: mean squared distances; the former pulls the encoder to the entries,
        the latter the entries to the encoder
    """

    code: Tensor
    entry: Tensor
    commitment: Tensor
    codebook: Tensor


class Autoencoder(nn.Module):
    """Data [B, C, *spatial] <-> code [B, latent_channels, *spatial / factor].

    Rombach et al. 2022, appendix G. A Gaussian code comes from `posterior`, a quantized one from
    `quantized`; `decode` takes both. The code is neither scaled nor shifted here.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        style = BlockStyle(config.dims, groups=config.norm_groups, eps=config.norm_eps)
        self.encoder, self.decoder = Encoder(config, style), Decoder(config, style)
        said = config.latent_channels * (1 if config.codes else 2)
        self.to_code: nn.Module = nn.Identity()
        self.from_code: nn.Module = nn.Identity()
        if config.code_conv:
            latent = config.latent_channels
            self.to_code = conv(config.dims, said, said, kernel=1)
            self.from_code = conv(config.dims, latent, latent, kernel=1)
        self.linear = LinearCode(config) if config.linear else None
        if self.linear is not None:
            _start_at_nothing(self.encoder.output, config)
            zeroed(self.decoder.output)
        self.codebook = None
        if config.codes:
            self.codebook = nn.Embedding(config.codes, config.latent_channels)
            nn.init.uniform_(self.codebook.weight, -1 / config.codes, 1 / config.codes)

    def posterior(self, x: Tensor) -> Gaussian:
        """The Gaussian of x's code; ValueError for a size that is not a multiple of the factor."""
        mean, logvar = self._encoded(x).chunk(2, dim=1)
        # The clamp of latent diffusion: e^(logvar / 2) cannot overflow early in training.
        return Gaussian(mean, logvar.clamp(-30, 20))

    def quantized(self, x: Tensor) -> Quantized:
        """The nearest codebook entries for data x [B, C, *spatial]."""
        return self.quantize(self._encoded(x))

    def quantize(self, z: Tensor) -> Quantized:
        """The nearest entry for each position of z [B, C, *spatial]; ValueError if Gaussian."""
        if self.codebook is None:
            raise ValueError("this autoencoder has a Gaussian code, not a codebook; use posterior")
        entries = self.codebook.weight
        places = z.movedim(1, -1)
        index = torch.cdist(places.reshape(-1, z.shape[1]).float(), entries.float()).argmin(1)
        index = index.view(places.shape[:-1])
        found = F.embedding(index, entries).movedim(-1, 1)
        return Quantized(
            z + (found - z).detach(),  # straight-through: the gradient goes to z unchanged
            index,
            (z - found.detach()).square().flatten(1).mean(1),
            (found - z.detach()).square().flatten(1).mean(1),
        )

    def encode(self, x: Tensor) -> Tensor:
        """The code for diffusion: the mean, or the encoder's output before quantization.

        As in latent diffusion, quantization is part of decoding. [B, latent_channels, *spatial].
        """
        return self._encoded(x) if self.config.codes else self.posterior(x).mean

    def decode(self, z: Tensor) -> Tensor:
        """Data [B, C, *spatial] from a code, which is quantized first if there is a codebook."""
        if self.codebook is not None:
            z = self.quantize(z).code
        y: Tensor = self.decoder(self.from_code(z))
        return y if self.linear is None else y + self.linear.decode(z)

    def forward(self, x: Tensor) -> Tensor:
        """The reconstruction of x."""
        return self.decode(self.encode(x))

    def _encoded(self, x: Tensor) -> Tensor:
        self._check(x)
        y: Tensor = self.to_code(self.encoder(x))
        if self.linear is None:
            return y
        code = self.linear.encode(x)
        return y + F.pad(code, (0, 0) * self.config.dims + (0, y.shape[1] - code.shape[1]))

    def _check(self, x: Tensor) -> None:
        config = self.config
        if x.ndim != config.dims + 2 or x.shape[1] != config.channels:
            raise ValueError(
                f"x has shape {list(x.shape)} but the autoencoder takes {config.channels} channels"
                f" and {config.dims} spatial axes: [batch, {config.channels}, ...]"
            )
        check_sizes(config, x.shape[2:])


class Encoder(nn.Module):
    """[B, C, *spatial] -> mean and log variance of the code, or the code before quantization."""

    def __init__(self, config: AutoencoderConfig, style: BlockStyle) -> None:
        super().__init__()
        dims, patch = config.dims, config.patch
        widths = [config.width * m for m in config.multipliers]
        # A kernel of 2 * patch - 1 overlaps the neighbouring blocks.
        kernel = 3 if patch == 1 else 2 * patch - 1
        self.input = conv(dims, config.channels, widths[0], kernel=kernel, stride=patch)
        layers, last = list[nn.Module](), widths[0]
        for level, width in enumerate(widths):
            for _ in range(config.blocks):
                layers.append(ResBlock(style, last, width))
                last = width
            if level < len(widths) - 1:
                layers.append(Downsample(dims, width, padding=config.down_padding))
        self.layers = nn.Sequential(*layers, *_middle(config, style))
        self.norm = style.norm(last)
        latent = config.latent_channels
        self.output = conv(dims, last, latent if config.codes else 2 * latent)

    def forward(self, x: Tensor) -> Tensor:
        h: Tensor = self.output(F.silu(self.norm(self.layers(self.input(x)))))
        return h


class Decoder(nn.Module):
    """[B, latent_channels, *spatial] -> data."""

    def __init__(self, config: AutoencoderConfig, style: BlockStyle) -> None:
        super().__init__()
        self.patch = config.patch
        widths = [config.width * m for m in reversed(config.multipliers)]
        self.input = conv(config.dims, config.latent_channels, widths[0])
        layers, last = list[nn.Module](_middle(config, style)), widths[0]
        for level, width in enumerate(widths):
            for _ in range(config.blocks + 1):
                layers.append(ResBlock(style, last, width))
                last = width
            if level < len(widths) - 1:
                layers.append(Upsample(config.dims, width))
        self.layers = nn.Sequential(*layers)
        self.norm = style.norm(last)
        self.output = conv(config.dims, last, config.channels * config.patch**config.dims)

    def forward(self, z: Tensor) -> Tensor:
        h: Tensor = self.output(F.silu(self.norm(self.layers(self.input(z)))))
        return h if self.patch == 1 else unpatch(h, self.patch)


class LinearCode(nn.Module):
    """A linear code of each block of data; the best weights are the blocks' principal components.

    The network's contribution starts at zero, so training begins at the best linear code rather
    than at noise. `train/autoencoder.py` computes that code.
    """

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.factor = config.factor
        block = config.channels * self.factor**config.dims
        latent = config.latent_channels
        self.down = conv(config.dims, config.channels, latent, kernel=self.factor)
        self.down.stride, self.down.padding = (self.factor,) * config.dims, (0,) * config.dims
        self.up = conv(config.dims, latent, block, kernel=1)

    def encode(self, x: Tensor) -> Tensor:
        """[B, C, *spatial] -> [B, latent channels, *spatial / factor]."""
        z: Tensor = self.down(x)
        return z

    def decode(self, z: Tensor) -> Tensor:
        """[B, latent channels, *spatial] -> [B, C, *spatial * factor]."""
        return unpatch(self.up(z), self.factor)


def _start_at_nothing(output: Conv, config: AutoencoderConfig) -> None:
    """Initially the network adds nothing to the mean, and its standard deviation is 1/20."""
    # A log variance of -6 is a standard deviation of e^-3 = 0.05.
    zeroed(output)
    if not config.codes:
        assert output.bias is not None
        nn.init.constant_(output.bias[config.latent_channels :], -6.0)


def _middle(config: AutoencoderConfig, style: BlockStyle) -> list[nn.Module]:
    width = config.width * config.multipliers[-1]
    attention = [AttentionBlock(style, width, 1)] if config.middle_attention else []
    return [ResBlock(style, width, width), *attention, ResBlock(style, width, width)]
