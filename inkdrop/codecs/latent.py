"""The latent codec: diffusion happens on an autoencoder's code (Rombach et al. 2022, section 3)."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from math import inf, prod
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.codecs.tiles import tiled
from inkdrop.config import dump, parse
from inkdrop.folder import NAME, described, read_description, write_description
from inkdrop.networks.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    Gaussian,
    check_same_code,
    check_sizes,
)
from inkdrop.networks.taesd import TAESD, TAESDConfig
from inkdrop.weights import map_weights, on_meta, save_weights

# Larger codes are decoded, and their data encoded, in overlapping tiles of so many places an axis.
TILE, OVERLAP = 64, 8
# Up to so many places, a picture of 1024 pixels a side where a place is 8, one pass makes it whole:
# the middle of the autoencoder then sees all of it, and no tile a little less than others.
WHOLE = 128 * 128


@dataclass(frozen=True)
class LatentConfig:
    """An autoencoder, and what brings its code to mean 0 and spread 1.

    shift, scale: for each channel of the code; what diffusion sees is (code - shift) * scale
    upcast: its maps grow beyond what float16 holds, so weights of float16 compute in float32
    """

    autoencoder: AutoencoderConfig | TAESDConfig
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    upcast: bool = False

    def __post_init__(self) -> None:
        channels = self.autoencoder.latent_channels
        for name in ("shift", "scale"):
            if len(getattr(self, name)) != channels:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} numbers, but the code has {channels}"
                    " channels: it needs one for each"
                )
        if not all(-inf < s < inf for s in self.shift):
            raise ValueError(f"shift is {self.shift}: every channel's must be finite")
        if not all(0 < s < inf for s in self.scale):
            raise ValueError(f"scale is {self.scale}: every channel's must be above 0, and finite")


class Latent(nn.Module):
    """Data [B, C, *spatial] in [-1, 1] <-> a code of mean 0 and spread 1 in each channel."""

    def __init__(
        self, config: LatentConfig, autoencoder: Autoencoder | TAESD | None = None
    ) -> None:
        """autoencoder: with its weights; by default one with fresh ones, to be filled."""
        super().__init__()
        self.config = config
        self.autoencoder = autoencoder or fresh(config.autoencoder)
        for name in ("shift", "scale"):
            # On the CPU even where weights are put nowhere, for no file holds them.
            values = torch.tensor(getattr(config, name), device="cpu")
            values = values.view(-1, *(1,) * config.autoencoder.dims)
            self.register_buffer(name, values, persistent=False)

    shift: Tensor
    scale: Tensor

    @property
    def module(self) -> nn.Module:
        """Itself: shift and scale move to a device with the weights."""
        return self

    @property
    def factor(self) -> int:
        """How many places of the data one place of the code stands for, along every axis."""
        return self.config.autoencoder.factor

    def unscaled(self, z: Tensor) -> Tensor:
        """The code as the autoencoder says it, before it is brought to mean 0 and spread 1."""
        return z / self.scale + self.shift

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """[C, *spatial] of the code for data of a shape; ValueError for one it cannot make."""
        config = self.config.autoencoder
        check_sizes(config, data[1:])
        return (config.latent_channels, *(size // config.factor for size in data[1:]))

    def through(self, other: Autoencoder) -> Latent:
        """The same codes, made and read by another autoencoder of this code, such as a tiny one."""
        check_same_code(other.config, self.config.autoencoder)
        return Latent(dataclasses.replace(self.config, autoencoder=other.config), other)

    @property
    def _overflows(self) -> bool:
        return self.config.upcast and self._dtype == torch.float16

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.autoencoder.parameters()).dtype

    def _wide(self) -> Latent:
        """The same in float32, for one call: kept, it would take twice what float16 saves."""
        wide = Latent(self.config, copy.deepcopy(self.autoencoder).float())
        return wide.to(self.shift.device).eval()

    def encode(self, data: Tensor) -> Tensor:
        """[B, C, *spatial] -> [B, latent channels, *spatial / factor]; the code's mean."""
        if self._overflows:
            return self._wide().encode(data)
        return (self._coded(self.autoencoder.encode, data) - self.shift) * self.scale

    def sample(self, data: Tensor, noise: Tensor) -> Tensor:
        """Codes drawn from what the encoder says of the data, one for each noise [B, *code's].

        The mean, where the encoder says nothing else. data: as many, or one for all.
        """
        if self._overflows:
            return self._wide().sample(data, noise)
        autoencoder = self.autoencoder
        if not isinstance(autoencoder, Autoencoder) or autoencoder.config.codes:
            return self.encode(data).expand_as(noise)
        said = self._coded(lambda x: torch.cat(autoencoder.posterior(x), dim=1), data)
        code = Gaussian(*said.chunk(2, dim=1)).sample(noise)
        return (code - self.shift) * self.scale

    def _coded(self, encode: Callable[[Tensor], Tensor], data: Tensor) -> Tensor:
        factor = self.config.autoencoder.factor
        check_sizes(self.config.autoencoder, data.shape[2:])
        data = data.to(self._dtype)
        return tiled(
            encode, data, tile=_tile(data, factor), overlap=OVERLAP * factor, ratio=(1, factor)
        )

    def decode(self, z: Tensor) -> Tensor:
        """The way back; about [-1, 1]. FloatingPointError if it is not finite."""
        if self._overflows:
            return self._wide().decode(z)
        code = (z.to(self.shift.dtype) / self.scale + self.shift).to(self._dtype)
        factor = self.config.autoencoder.factor
        y = tiled(
            self.autoencoder.decode, code, tile=_tile(code, 1), overlap=OVERLAP, ratio=(factor, 1)
        )
        return _finite(y)


def _finite(y: Tensor) -> Tensor:
    if not bool(y.isfinite().all()):
        way = (
            "try float32" if y.dtype != torch.float32 else "its weights are damaged: get them again"
        )
        raise FloatingPointError(
            f"what the autoencoder made of a code in {str(y.dtype)[6:]} is not finite; {way}"
        )
    return y


def _tile(x: Tensor, factor: int) -> int:
    """The longest side of a tile for data or a code, `factor` of whose places are one of a code."""
    sizes = x.shape[2:]
    return max(sizes) if prod(sizes) <= WHOLE * factor ** len(sizes) else TILE * factor


def fresh(config: AutoencoderConfig | TAESDConfig) -> Autoencoder | TAESD:
    """An autoencoder of this shape with fresh weights."""
    return TAESD(config) if isinstance(config, TAESDConfig) else Autoencoder(config)


def autoencoder_description(config: AutoencoderConfig) -> dict[str, Any]:
    """The content of the model.json of an autoencoder alone."""
    return described("autoencoder", {"autoencoder": dump(config)})


def write_autoencoder(autoencoder: Autoencoder, folder: Path) -> None:
    """model.json and network.safetensors, into a folder that exists."""
    write_description(folder, autoencoder_description(autoencoder.config))
    save_weights(autoencoder, folder / "network.safetensors")


def load_autoencoder(folder: str | Path) -> Autoencoder:
    """The autoencoder in a folder, in evaluation mode; ValueError in words for anything amiss."""
    folder = Path(folder)
    about = read_description(folder, "autoencoder")
    config = parse(AutoencoderConfig, about["autoencoder"], str(folder / NAME))
    with on_meta():
        autoencoder = Autoencoder(config)
    return map_weights(autoencoder, folder / "network.safetensors", torch.float32)
