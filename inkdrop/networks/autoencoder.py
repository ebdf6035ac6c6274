"""Autoencoders for latent diffusion, with a Gaussian or a quantized code, over 1, 2 or 3 axes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.networks.attention import AttentionBlock
from inkdrop.networks.layers import (
    BlockStyle,
    Conv,
    Downsample,
    ResBlock,
    Upsample,
    conv,
    unpatch,
    zeroed,
)


@dataclass(frozen=True)
class AutoencoderConfig:
    """Configuration of an autoencoder; each side of the code is 1 / factor of the data's.

    Stable Diffusion's is width 128, multipliers (1, 2, 4, 4), blocks 2, latent_channels 4, patch 1.

    dims: spatial axes: 1 for sound, 2 for pictures, 3 for volumes
    channels: of the data; latent_channels: of the code
    codes: entries of the codebook, for a quantized code (None: a Gaussian code)
    patch: side of the block of pixels in one position of the first level
    width: channels at the first level, before the multiplier
    multipliers: channels of each level in units of width; each level after the first halves the
        size
    blocks: residual blocks per level in the encoder; the decoder has one more
    middle_attention: self-attention between the two residual blocks at the lowest resolution
    code_conv: 1x1 convolutions before and after the code
    linear: a linear code of each block of factor^dims data positions, plus the network's code
    down_padding: padding of the strided convolution: both ends, or the far end only
    norm_groups, norm_eps: of the group norms
    ValueError for values that fit no network.
    """

    dims: int = 2
    channels: int = 3
    latent_channels: int = 4
    codes: int | None = None
    patch: int = 1
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 4)
    blocks: int = 1
    middle_attention: bool = True
    code_conv: bool = True
    linear: bool = False
    down_padding: Literal["symmetric", "asymmetric"] = "asymmetric"
    norm_groups: int = 32
    norm_eps: float = 1e-6

    def __post_init__(self) -> None:
        if self.dims not in (1, 2, 3):
            raise ValueError(f"dims is {self.dims} but must be 1, 2 or 3")
        if not self.multipliers:
            raise ValueError("multipliers is empty but needs one number for each level")
        if self.down_padding not in ("symmetric", "asymmetric"):
            raise ValueError(
                f"down_padding is {self.down_padding!r} but must be symmetric or asymmetric"
            )
        numbers = {
            name: getattr(self, name)
            for name in ("channels", "latent_channels", "patch", "width", "blocks", "norm_groups")
        } | {"multipliers": min(self.multipliers)}
        for name, number in numbers.items():
            if number < 1:
                raise ValueError(f"{name} is {number} but must be at least 1")
        if self.linear and self.code_conv:
            # The network's code starts at zero, which a 1x1 convolution after it would undo.
            raise ValueError("linear is True, which needs code_conv False; turn one of them off")
        if self.codes is not None and self.codes < 2:
            raise ValueError(f"codes is {self.codes}: a codebook needs at least 2 entries")
        for level, multiplier in enumerate(self.multipliers):
            if self.width * multiplier % self.norm_groups:
                raise ValueError(
                    f"level {level} has {self.width * multiplier} channels, not a multiple of"
                    f" norm_groups, {self.norm_groups}; change width or norm_groups"
                )

    @property
    def factor(self) -> int:
        """Data positions per position of the code, along each axis."""
        return int(self.patch * 2 ** (len(self.multipliers) - 1))


class Coding(Protocol):
    """The fields that the configurations of all autoencoders share."""

    @property
    def dims(self) -> int: ...
    @property
    def channels(self) -> int: ...
    @property
    def latent_channels(self) -> int: ...
    @property
    def factor(self) -> int: ...


def check_sizes(config: Coding, sizes: Sequence[int]) -> None:
    """ValueError, with the nearest possible sizes, unless each is a multiple of the factor."""
    for size in sizes:
        if size % config.factor:
            low = size // config.factor * config.factor
            near = f"{low} and {low + config.factor}" if low else str(config.factor)
            raise ValueError(
                f"a size of {size} is not a multiple of {config.factor}, the factor between data"
                f" and code; the nearest possible: {near}"
            )


def check_same_code(small: Coding, big: Coding) -> None:
    """ValueError unless both autoencoders map the same data to codes of the same shape."""
    for name in ("dims", "channels", "latent_channels", "factor"):
        ours, theirs = getattr(small, name), getattr(big, name)
        if ours != theirs:
            raise ValueError(
                f"{name} is {ours}, but {theirs} in the autoencoder whose code is to be shared;"
                f" set {name} to {theirs}"
            )


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
