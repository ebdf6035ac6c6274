"""Training an autoencoder. Rombach et al. 2022, section 3.1 and appendix G."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from inkdrop.codecs.latent import autoencoder_description, write_autoencoder
from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.digest import digest_of_weights
from inkdrop.media.medium import Look
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig, check_sizes
from inkdrop.networks.resample import blocks
from inkdrop.registry import medium
from inkdrop.train.aim import Aim
from inkdrop.train.aims.reconstruction import (
    AutoencoderLoss,
    FeatureMaps,
    Reconstruction,
    check_loss,
    reconstruction,
)
from inkdrop.train.config import AUTOENCODER_TRAINING, TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.feed import HeldOut
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World, bare
from inkdrop.train.precision import autocast
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn, draw_noise

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Coder:
    """What a run of an autoencoder trains; its model folder holds the autoencoder alone.

    network: a module whose attribute `autoencoder` is the autoencoder
    """

    network: nn.Module

    @property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder itself."""
        found: Autoencoder = cast(Any, self.network).autoencoder
        return found

    def write(self, folder: Path) -> None:
        """Writes its files into an existing folder."""
        write_autoencoder(self.autoencoder, folder)


def objective(model: Coder, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
    """The loss [B] of each row; on held-out data only the reconstruction error."""
    network = model.network
    whole = cast(Reconstruction, bare(network))
    x, loss, shape = batch.x0, whole.loss, whole.autoencoder.config
    sizes = (size // shape.factor for size in x.shape[2:])
    noise = draw_noise(x.new_empty(len(x), shape.latent_channels, *sizes), config.seed, turn)
    with autocast(config, x.device):
        if turn.held_out:
            y, _ = whole.reconstructed(x, torch.zeros_like(noise))
            return whole.distance(x, y)
        begun = turn.update >= loss.adversarial_from * turn.total
        each: Tensor = network(x, noise, loss.adversarial if begun else 0.0)
    return each


def shape_for(data: Dataset, factor: int | None = None, channels: int = 8) -> AutoencoderConfig:
    """An autoencoder for data of this shape; by default f = 4 up to 128 pixels, else f = 8."""
    factor = factor or (4 if max(data.shape[1:]) <= 128 else 8)
    if factor < 2 or factor & (factor - 1):
        raise ValueError(f"the factor is {factor}: it must be a power of 2, such as 4 or 8")
    levels = factor.bit_length() - 1  # the first factor of 2 comes from `patch`
    return AutoencoderConfig(
        dims=len(data.shape) - 1,
        channels=data.shape[0],
        latent_channels=channels,
        patch=2,
        width=48,
        multipliers=(1, *(2,) * (levels - 1)),
        blocks=1,
        middle_attention=False,
        code_conv=False,
        linear=True,
        norm_groups=16,
    )


def principal(data: Dataset, config: AutoencoderConfig, count: int = 4096) -> dict[str, Tensor]:
    """The best linear code for blocks of data, as weights of `LinearCode`: principal components.

    They are computed from `count` samples spread over the data. One common scale brings their mean
    variance to 1. Distances in the code are thus proportional to distances in the data, and the
    components of fine detail stay small.
    """
    count, channels = min(count, len(data)), config.latent_channels
    chosen = [i * len(data) // count for i in range(count)]
    total, outer, places = torch.zeros(()), torch.zeros(()), 0
    for first in range(0, count, 256):
        block = blocks(data.take(chosen[first : first + 256]).double(), config.factor)
        flat = block.movedim(1, -1).flatten(0, -2)
        total, outer, places = total + flat.sum(0), outer + flat.T @ flat, places + len(flat)
    mean = total / places
    value, vector = torch.linalg.eigh(outer / places - mean.outer(mean))
    value, vector = value.flip(0)[:channels], vector.flip(1)[:, :channels]
    spread = value.mean().clamp(min=1e-6).sqrt()
    shape = (channels, config.channels, *(config.factor,) * config.dims)
    return {
        "down.weight": (vector / spread).T.reshape(shape).float(),
        "down.bias": (-(mean @ (vector / spread))).float(),
        "up.weight": (vector * spread).reshape(-1, channels, *(1,) * config.dims).float(),
        "up.bias": mean.float(),
    }


def pairs(coder: Coder, held: HeldOut | None) -> Image | None:
    """Held-out samples above their reconstructions."""
    if held is None:
        return None
    x = held(range(min(8, len(held.data)))).x0
    y = coder.autoencoder(x).clamp(-1, 1)
    return medium(held.data.medium).sheet(torch.cat([x, y]).cpu(), Look(columns=len(x)))


def train_autoencoder(
    data: Dataset,
    out: str | Path,
    shape: AutoencoderConfig | None = None,
    loss: AutoencoderLoss | None = None,
    request: TrainRequest | None = None,
    *,
    maps: FeatureMaps | None = None,
    weights: Autoencoder | None = None,
    world: World | None = None,
) -> Iterator[Event]:
    """Trains an autoencoder on `data` in the run folder `out`; yields the events of `run.train`.

    maps: feature maps for the perceptual loss
    weights: an autoencoder to start from, instead of the best linear code

    ValueError if data, shape, weights and loss do not fit together.
    """
    shape = shape or (weights.config if weights else shape_for(data))
    loss, world = loss or AutoencoderLoss(), world or World()
    request = request or TrainRequest(AUTOENCODER_TRAINING)
    if weights is not None and weights.config != shape:
        raise ValueError(
            "the autoencoder to start from has another shape than was asked for; leave shape out"
        )
    check_loss(loss, maps, world)
    check_sizes(shape, data.shape[1:])
    first = _first(data, shape, weights)
    about = autoencoder_description(shape)

    def build(description: Mapping[str, Any], where: str) -> Coder:
        autoencoder = filled(description, where, first)
        return Coder(reconstruction(autoencoder, loss, maps))

    aim = Aim(
        objective=objective,
        describe=lambda data, request: about,
        build=build,
        picture=pairs,
        record={"autoencoder": dump(shape), "loss": dump(loss)}
        | ({"weights": digest_of_weights(first)} if weights is not None else {}),
    )
    return train(data, out, request, aim=aim, world=world)


def _first(
    data: Dataset, shape: AutoencoderConfig, weights: Autoencoder | None
) -> Mapping[str, Tensor]:
    """The weights that are not randomly initialised, by name."""
    if weights is not None:
        return weights.state_dict()
    found = principal(data, shape) if shape.linear else {}
    return {f"linear.{name}": value for name, value in found.items()}


def filled(
    description: Mapping[str, Any], where: str, weights: Mapping[str, Tensor]
) -> Autoencoder:
    """A new autoencoder from the content of model.json, with the given weights filled in."""
    autoencoder = Autoencoder(parse(AutoencoderConfig, description["autoencoder"], where))
    for name, value in weights.items():
        autoencoder.get_parameter(name).data.copy_(value)
    return autoencoder
