"""Training an autoencoder: reconstruction, the code's prior and, if asked, an adversary.

Rombach et al. 2022, section 3.1 and appendix G; the adversarial part and its weight are those of
Esser et al. 2021, eq. 7. Autoencoder and discriminator are one network with one optimizer: each
loss meets the other's weights as constants, so an update is one step for both.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from inkdrop.codecs.latent import autoencoder_description, write_autoencoder
from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.digest import digest_of_weights
from inkdrop.media.medium import Look
from inkdrop.networks.autoencoder import Autoencoder, AutoencoderConfig, Gaussian, check_sizes
from inkdrop.networks.discriminator import Discriminator, DiscriminatorConfig
from inkdrop.networks.layers import blocks
from inkdrop.registry import medium
from inkdrop.train.aim import Aim
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


# Feature maps [B, C, *spatial] of pictures in [-1, 1], for the perceptual loss.
FeatureMaps = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the parts of the loss; each part is a mean over a sample's values.

    l1, l2: of the reconstruction's error; perceptual: of the distance of feature maps;
    kl: of the Gaussian code to the unit one, in nats a value of the data; commitment: of the
    encoder to its codebook; adversarial: of the discriminator's opinion, times the adaptive weight;
    adversarial_from: the share of the updates after which it counts
    """

    l1: float = 1.0
    l2: float = 1.0
    perceptual: float = 0.0
    kl: float = 1e-6
    commitment: float = 0.25
    adversarial: float = 0.0
    adversarial_from: float = 0.3

    def __post_init__(self) -> None:
        for name, value in dump(self).items():
            if value < 0:
                raise ValueError(f"{name} is {value}: the weight of a loss cannot be negative")
        if self.l1 == self.l2 == 0:
            raise ValueError("l1 and l2 are both 0: nothing would ask for the picture itself")


class Reconstruction(nn.Module):
    """An autoencoder, its discriminator and their losses: (x, noise, adversarial) -> loss [B]."""

    def __init__(
        self,
        autoencoder: Autoencoder,
        loss: AutoencoderLoss,
        maps: FeatureMaps | None = None,
        discriminator: Discriminator | None = None,
    ) -> None:
        super().__init__()
        self.autoencoder, self.discriminator = autoencoder, discriminator
        self.loss = loss
        self._maps = (maps,)  # in a tuple, so that its weights are not ours to train

    def forward(self, x: Tensor, noise: Tensor, adversarial: float) -> Tensor:
        """The loss of each sample; `adversarial` is the weight of the discriminator's opinion."""
        return self.total(x, *self.reconstructed(x, noise), adversarial)

    def total(self, x: Tensor, y: Tensor, own: Tensor, adversarial: float) -> Tensor:
        """The loss of each sample x that came back as y, with `own` [B], the code's own loss."""
        rebuilt = self.distance(x, y)
        loss = rebuilt + own
        if self.discriminator is not None:
            if adversarial > 0:
                fooled = -functional_call(
                    self.discriminator, _constant(self.discriminator), (y,)
                ).float().flatten(1).mean(1)  # fmt: skip
                weight = self._adaptive(rebuilt.mean(), fooled.mean())
                loss = loss + adversarial * weight * fooled
            loss = loss + self._judged(x, y.detach())
        return loss

    def reconstructed(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """x decoded again from a code drawn with `noise`, and the code's own loss [B]."""
        if self.autoencoder.codebook is not None:
            z = self.autoencoder.encode(x).float()
            found = self.autoencoder.quantize(z)
            own = self.loss.commitment * found.commitment + found.codebook
            return self.autoencoder.decode(z).float(), own
        mean, logvar = (part.float() for part in self.autoencoder.posterior(x))
        posterior = Gaussian(mean, logvar)
        kl = posterior.kl() / x[0].numel()
        return self.autoencoder.decode(posterior.sample(noise)).float(), self.loss.kl * kl

    def distance(self, x: Tensor, y: Tensor) -> Tensor:
        """The error of each sample's reconstruction [B]."""
        error = (y - x).flatten(1)
        total = self.loss.l1 * error.abs().mean(1) + self.loss.l2 * error.square().mean(1)
        maps = self._maps[0]
        if maps is None or self.loss.perceptual == 0:
            return total
        pairs = zip(maps(x), maps(y), strict=True)
        parts = [(_unit(a) - _unit(b)).square().sum(1).flatten(1).mean(1) for a, b in pairs]
        return total + self.loss.perceptual * torch.stack(parts).sum(0)

    def _adaptive(self, rebuilt: Tensor, fooled: Tensor) -> Tensor:
        """The ratio of both gradients at the last layer. Esser et al. 2021, eq. 7."""
        last = self.autoencoder.decoder.output.weight
        a, b = (
            torch.autograd.grad(part, last, retain_graph=True)[0].float().norm()
            for part in (rebuilt, fooled)
        )
        ratio: Tensor = (a / (b + 1e-4)).clamp(max=1e4)
        return ratio.detach()

    def _judged(self, x: Tensor, y: Tensor) -> Tensor:
        """The hinge loss [B] by which the discriminator learns (Lim and Ye 2017)."""
        assert self.discriminator is not None
        real, made = (self.discriminator(v).float().flatten(1) for v in (x, y))
        return (F.relu(1 - real).mean(1) + F.relu(1 + made).mean(1)) / 2


def _constant(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters()}


def _unit(a: Tensor) -> Tensor:
    """Feature vectors of length 1 at every place (Zhang et al. 2018, eq. 1)."""
    a = a.float()
    return a / (a.square().sum(1, keepdim=True) + 1e-10).sqrt()


@dataclass(frozen=True)
class Coder:
    """What a run of an autoencoder trains; its folder holds the autoencoder alone.

    network: with the autoencoder as its attribute of that name
    """

    network: nn.Module

    @property
    def autoencoder(self) -> Autoencoder:
        """The autoencoder itself."""
        found: Autoencoder = cast(Any, self.network).autoencoder
        return found

    def write(self, folder: Path) -> None:
        """Its files, into a folder that exists."""
        write_autoencoder(self.autoencoder, folder)


def objective(model: Coder, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
    """The loss [B] of each row; on held-out data the error of the reconstruction alone."""
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
    """An autoencoder that suits data of this shape: f = 4 up to 128 pixels, else 8."""
    factor = factor or (4 if max(data.shape[1:]) <= 128 else 8)
    if factor < 2 or factor & (factor - 1):
        raise ValueError(f"the factor is {factor}: it must be a power of 2, such as 4 or 8")
    levels = factor.bit_length() - 1  # of which the first two pixels are folded into channels
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
    """The best linear code of blocks of data, as the weights of `LinearCode`: principal components.

    Of `count` samples spread over the data. All are scaled by one number, which brings their mean
    variance to 1: so distances in the code are distances in the data, and fine detail stays small.
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
    """Trains an autoencoder on `data` in the run folder `out`; the events of `run.train`.

    maps: feature maps for the perceptual loss; weights: an autoencoder that it starts as, instead
    of the best linear code. ValueError if data, shape, weights and loss do not go together.
    """
    shape = shape or (weights.config if weights else shape_for(data))
    loss, request = loss or AutoencoderLoss(), request or TrainRequest(AUTOENCODER_TRAINING)
    if weights is not None and weights.config != shape:
        raise ValueError(
            "the autoencoder to start from has another shape than was asked for; leave shape out"
        )
    if loss.perceptual and maps is None:
        raise ValueError(
            f"perceptual is {loss.perceptual}, but no feature network was given for it; name one"
            " or leave it at 0"
        )
    check_sizes(shape, data.shape[1:])
    first: Mapping[str, Tensor] = {}
    if weights is not None:
        first = weights.state_dict()
    elif shape.linear:
        first = {f"linear.{name}": value for name, value in principal(data, shape).items()}
    about = autoencoder_description(shape)

    def build(description: Mapping[str, Any], where: str) -> Coder:
        config = parse(AutoencoderConfig, description["autoencoder"], where)
        autoencoder = Autoencoder(config)
        for name, value in first.items():
            autoencoder.get_parameter(name).data.copy_(value)
        critic = None
        if loss.adversarial:
            critic = Discriminator(DiscriminatorConfig(config.dims, config.channels))
        return Coder(Reconstruction(autoencoder, loss, maps, critic))

    aim = Aim(
        objective=objective,
        describe=lambda data, request: about,
        build=build,
        picture=pairs,
        record={"autoencoder": dump(shape), "loss": dump(loss)}
        | ({"weights": digest_of_weights(first)} if weights is not None else {}),
    )
    return train(data, out, request, aim=aim, world=world)
