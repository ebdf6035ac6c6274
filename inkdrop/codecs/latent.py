"""The latent codec, for diffusion on an autoencoder's code (Rombach et al. 2022, section 3)."""

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
from inkdrop.networks.autoencoder import Autoencoder, Gaussian
from inkdrop.networks.autoencoder_config import AutoencoderConfig, check_same_code, check_sizes
from inkdrop.networks.taesd import TAESD, TAESDConfig
from inkdrop.weights import map_weights, on_meta, save_weights

# Side and overlap, in positions of the code, of the tiles in which large codes are decoded and
# their data encoded.
TILE, OVERLAP = 64, 8
# Codes of up to this many positions (1024 x 1024 pixels at factor 8) are decoded in one pass, so
# that attention in the autoencoder's middle and the group norms see the whole picture.
WHOLE = 128 * 128


@dataclass(frozen=True)
class LatentConfig:
    """An autoencoder and the normalisation of its code to mean 0 and standard deviation 1.

    shift, scale: one number per channel of the code; diffusion runs on (code - shift) * scale
    upcast: activations exceed float16's range, so float16 weights are computed in float32
    ValueError unless there is one finite shift and one positive scale for each channel.
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
                    " channels; give one for each"
                )
        if not all(-inf < s < inf for s in self.shift):
            raise ValueError(f"shift is {self.shift}, but every number must be finite")
        if not all(0 < s < inf for s in self.scale):
            raise ValueError(f"scale is {self.scale}, but every number must be finite and above 0")


class Latent(nn.Module):
    """Data [B, C, *spatial] in [-1, 1] <-> code of mean 0 and standard deviation 1 per channel."""

    def __init__(
        self, config: LatentConfig, autoencoder: Autoencoder | TAESD | None = None
    ) -> None:
        """autoencoder: with its weights (None: a new one with initial weights)."""
        super().__init__()
        self.config = config
        self.autoencoder = autoencoder or fresh(config.autoencoder)
        for name in ("shift", "scale"):
            # On the CPU even under meta: these values are not in the weights file.
            values = torch.tensor(getattr(config, name), device="cpu")
            values = values.view(-1, *(1,) * config.autoencoder.dims)
            self.register_buffer(name, values, persistent=False)

    shift: Tensor
    scale: Tensor

    @property
    def module(self) -> nn.Module:
        """Itself, so that shift and scale move to a device together with the weights."""
        return self

    @property
    def factor(self) -> int:
        """Data positions per position of the code, along every axis."""
        return self.config.autoencoder.factor

    def unscaled(self, z: Tensor) -> Tensor:
        """The autoencoder's own code, before normalisation to mean 0 and standard deviation 1."""
        return z / self.scale + self.shift

    def shape(self, data: tuple[int, ...]) -> tuple[int, ...]:
        """The shape [C, *spatial] of the code for data [C, *spatial]; ValueError if impossible."""
        config = self.config.autoencoder
        check_sizes(config, data[1:])
        return (config.latent_channels, *(size // config.factor for size in data[1:]))

    def through(self, other: Autoencoder) -> Latent:
        """The same code through another autoencoder trained on it, such as a TAESD-like one.

        ValueError if its code has another shape.
        """
        check_same_code(other.config, self.config.autoencoder)
        return Latent(dataclasses.replace(self.config, autoencoder=other.config), other)

    @property
    def _overflows(self) -> bool:
        return self.config.upcast and self._dtype == torch.float16

    @property
    def _dtype(self) -> torch.dtype:
        return next(self.autoencoder.parameters()).dtype

    def _wide(self) -> Latent:
        """A float32 copy for one call; keeping it would cost twice the memory float16 saves."""
        wide = Latent(self.config, copy.deepcopy(self.autoencoder).float())
        return wide.to(self.shift.device).eval()

    def encode(self, data: Tensor) -> Tensor:
        """[B, C, *spatial] -> the mean code [B, latent_channels, *spatial / factor].

        ValueError for a size that is not a multiple of the factor.
        """
        if self._overflows:
            return self._wide().encode(data)
        return (self._coded(self.autoencoder.encode, data) - self.shift) * self.scale

    def sample(self, data: Tensor, noise: Tensor) -> Tensor:
        """Codes drawn from the posterior, one for each unit Gaussian noise [B, *code's shape].

        data: [B, C, *spatial], or one for all noises. An encoder without a variance gives its only
        code.
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
        """A code -> data [B, C, *spatial], roughly in [-1, 1]; FloatingPointError if not finite."""
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
            f"the autoencoder's output in {str(y.dtype)[6:]} is not finite; {way}"
        )
    return y


def _tile(x: Tensor, factor: int) -> int:
    """The longest side of a tile of x, which has `factor` positions per position of the code."""
    sizes = x.shape[2:]
    return max(sizes) if prod(sizes) <= WHOLE * factor ** len(sizes) else TILE * factor


def fresh(config: AutoencoderConfig | TAESDConfig) -> Autoencoder | TAESD:
    """A new autoencoder of this configuration, with initial weights."""
    return TAESD(config) if isinstance(config, TAESDConfig) else Autoencoder(config)


def autoencoder_description(config: AutoencoderConfig) -> dict[str, Any]:
    """The content of model.json for an autoencoder on its own."""
    return described("autoencoder", {"autoencoder": dump(config)})


def write_autoencoder(autoencoder: Autoencoder, folder: Path) -> None:
    """Write model.json and network.safetensors into an existing folder."""
    write_description(folder, autoencoder_description(autoencoder.config))
    save_weights(autoencoder, folder / "network.safetensors")


def load_autoencoder(folder: str | Path) -> Autoencoder:
    """The autoencoder in a folder, frozen, in evaluation mode; ValueError for a broken folder."""
    folder = Path(folder)
    about = read_description(folder, "autoencoder")
    config = parse(AutoencoderConfig, about["autoencoder"], str(folder / NAME))
    with on_meta():
        autoencoder = Autoencoder(config)
    return map_weights(autoencoder, folder / "network.safetensors", torch.float32)
