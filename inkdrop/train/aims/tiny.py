"""A tiny autoencoder that shares the code of a big one, for previews: distillation on real data.

The small encoder learns to predict the big one's code, and the small decoder to decode it. They are
trained independently, so either can replace its big counterpart alone (after TAESD, Bohan 2023).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from inkdrop.codecs.latent import autoencoder_description
from inkdrop.config import dump
from inkdrop.data.dataset import Dataset
from inkdrop.digest import digest_of_weights
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig, check_same_code, check_sizes
from inkdrop.networks.resample import blocks
from inkdrop.train.aim import Aim
from inkdrop.train.aims.autoencoder import Coder, filled, pairs
from inkdrop.train.aims.reconstruction import (
    AutoencoderLoss,
    FeatureMaps,
    Reconstruction,
    check_loss,
    reconstruction,
)
from inkdrop.train.config import AUTOENCODER_TRAINING, TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World, bare
from inkdrop.train.precision import autocast
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn


def tiny_shape(big: AutoencoderConfig, width: int = 32) -> AutoencoderConfig:
    """A small autoencoder with a big one's code: one level fewer, constant width, no attention.

    width: channels at every level, a multiple of 8
    """
    levels = len(big.multipliers)
    return AutoencoderConfig(
        dims=big.dims,
        channels=big.channels,
        latent_channels=big.latent_channels,
        patch=big.patch * (1 if levels == 1 else 2),
        width=width,
        multipliers=(1,) * max(1, levels - 1),
        blocks=1,
        middle_attention=False,
        code_conv=False,
        linear=True,
        norm_groups=8,
    )


class Follower(nn.Module):
    """(x, the big autoencoder's code z, adversarial) -> the loss [B] of encoder and decoder.

    variance: of z, by which the encoder's squared error is divided
    """

    def __init__(self, whole: Reconstruction, variance: float) -> None:
        super().__init__()
        self.whole, self.variance = whole, variance

    @property
    def autoencoder(self) -> Autoencoder:
        """The tiny autoencoder."""
        return self.whole.autoencoder

    def forward(self, x: Tensor, z: Tensor, adversarial: float) -> Tensor:
        """The loss of each sample; `adversarial` is the weight of the generator loss."""
        y, error = self.followed(x, z)
        return self.whole.total(x, y, error, adversarial)

    def followed(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """The decoded z, and the error [B] of the encoder's code for x."""
        error = (self.autoencoder.encode(x).float() - z).square().flatten(1).mean(1)
        return self.autoencoder.decode(z).float(), error / self.variance


@dataclass(frozen=True)
class Following:
    """The objective: a `Follower`'s loss for the big autoencoder's codes."""

    big: Autoencoder

    def __call__(self, model: Coder, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
        """The loss [B] of each row; on held-out data without the adversarial term."""
        network, x = model.network, batch.x0
        follower = cast(Follower, bare(network))
        loss = follower.whole.loss
        with autocast(config, x.device):
            with torch.no_grad():
                z = self.big.encode(x).float()
            if turn.held_out:
                y, error = follower.followed(x, z)
                return follower.whole.distance(x, y) + error
            begun = turn.update >= loss.adversarial_from * turn.total
            each: Tensor = network(x, z, loss.adversarial if begun else 0.0)
        return each


def train_tiny(
    big: Autoencoder,
    data: Dataset,
    out: str | Path,
    shape: AutoencoderConfig | None = None,
    loss: AutoencoderLoss | None = None,
    request: TrainRequest | None = None,
    *,
    maps: FeatureMaps | None = None,
    world: World | None = None,
) -> Iterator[Event]:
    """Trains a tiny autoencoder with the code of `big` on `data`, in the run folder `out`.

    The result is an ordinary autoencoder folder; `Latent.through` puts it in the big one's place. A
    shape with `linear` starts from the best linear map between blocks of data and codes.

    loss: kl and commitment are ignored, because the code is the big autoencoder's

    ValueError if the two codes differ in shape, or if data, shape and loss do not fit together.
    """
    shape, loss = shape or tiny_shape(big.config), loss or AutoencoderLoss()
    request, world = request or TrainRequest(AUTOENCODER_TRAINING), world or World()
    check_same_code(shape, big.config)
    check_sizes(shape, data.shape[1:])
    if shape.codes is not None:
        raise ValueError("codes is for a codebook, but a tiny autoencoder has none; leave it out")
    check_loss(loss, maps, world)
    big = copy.deepcopy(big).to(world.device).eval().requires_grad_(False)
    start, variance = linear_start(big, data, world.device)
    first = {f"linear.{name}": value for name, value in start.items()} if shape.linear else {}
    about = autoencoder_description(shape)

    def build(description: Mapping[str, Any], where: str) -> Coder:
        autoencoder = filled(description, where, first)
        return Coder(Follower(reconstruction(autoencoder, loss, maps), variance))

    aim = Aim(
        objective=Following(big),
        describe=lambda data, request: about,
        build=build,
        picture=pairs,
        record={
            "big": digest_of_weights(big.state_dict()),
            "autoencoder": dump(shape),
            "loss": dump(loss),
        },
    )
    return train(data, out, request, aim=aim, world=world)


@torch.no_grad()
def linear_start(
    big: Autoencoder, data: Dataset, device: torch.device, count: int = 1024
) -> tuple[dict[str, Tensor], float]:
    """The weights of `LinearCode` closest to the big autoencoder, and the variance of its code.

    They are a least-squares fit between the blocks of `count` samples and their codes.
    """
    count, config = min(count, len(data)), big.config
    chosen = [i * len(data) // count for i in range(count)]
    total, outer, places = torch.zeros(()), torch.zeros(()), 0
    for first in range(0, count, 64):
        x = data.take(chosen[first : first + 64]).to(device)
        both = torch.cat([blocks(x, config.factor), big.encode(x).float()], dim=1)
        flat = both.double().cpu().movedim(1, -1).flatten(0, -2)
        total, outer, places = total + flat.sum(0), outer + flat.T @ flat, places + len(flat)
    mean = total / places
    cov = outer / places - mean.outer(mean)
    block = config.channels * config.factor**config.dims
    a, b = slice(None, block), slice(block, None)
    down, up = _regression(cov, b, a), _regression(cov, a, b)
    shape = (config.latent_channels, config.channels, *(config.factor,) * config.dims)
    weights = {
        "down.weight": down.reshape(shape),
        "down.bias": mean[b] - down @ mean[a],
        "up.weight": up.reshape(*up.shape, *(1,) * config.dims),
        "up.bias": mean[a] - up @ mean[b],
    }
    variance = max(float(cov.diagonal()[b].mean()), 1e-12)
    return {name: value.float() for name, value in weights.items()}, variance


def _regression(cov: Tensor, y: slice, x: slice) -> Tensor:
    """The matrix that best predicts part y from part x linearly, from their covariance."""
    found: Tensor = cov[y, x] @ torch.linalg.pinv(cov[x, x], rtol=1e-7, hermitian=True)
    return found
