"""The loss of an autoencoder: reconstruction, prior of the code and, optionally, an adversary.

The adversarial part and its weight follow Esser et al. 2021, eq. 7. Autoencoder and discriminator
are one module with one optimizer. Each loss treats the other side's weights as constants, so one
update is a step for both.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from inkdrop.config import dump
from inkdrop.networks.autoencoder import Autoencoder, Gaussian
from inkdrop.networks.discriminator import Discriminator, DiscriminatorConfig
from inkdrop.train.parallel import World

# Feature maps [B, C, *spatial] of pictures in [-1, 1], for the perceptual loss.
FeatureMaps = Callable[[Tensor], list[Tensor]]


@dataclass(frozen=True)
class AutoencoderLoss:
    """Weights of the terms of the loss; each term is a mean over a sample's values.

    l1, l2: absolute and squared reconstruction error
    perceptual: squared distance of normalised feature maps
    kl: divergence of the Gaussian code from the standard normal, in nats per value of the data
    commitment: distance of the encoder's output to its codebook entries
    adversarial: generator loss, multiplied by the adaptive weight
    adversarial_from: the fraction of updates after which the adversarial term starts
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
        self._maps = (maps,)  # in a tuple, which keeps its weights out of our parameters

    def forward(self, x: Tensor, noise: Tensor, adversarial: float) -> Tensor:
        """The loss of each sample; `adversarial` is the weight of the generator loss."""
        return self.total(x, *self.reconstructed(x, noise), adversarial)

    def total(self, x: Tensor, y: Tensor, own: Tensor, adversarial: float) -> Tensor:
        """The loss of each sample x with reconstruction y; own [B]: the loss of its code."""
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
        """The reconstruction of x from a code sampled with `noise`, and the code's loss [B]."""
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
        """The reconstruction error [B] of each sample."""
        error = (y - x).flatten(1)
        total = self.loss.l1 * error.abs().mean(1) + self.loss.l2 * error.square().mean(1)
        maps = self._maps[0]
        if maps is None or self.loss.perceptual == 0:
            return total
        pairs = zip(maps(x), maps(y), strict=True)
        parts = [(_unit(a) - _unit(b)).square().sum(1).flatten(1).mean(1) for a, b in pairs]
        return total + self.loss.perceptual * torch.stack(parts).sum(0)

    def _adaptive(self, rebuilt: Tensor, fooled: Tensor) -> Tensor:
        """The ratio of both gradient norms at the last layer (Esser et al. 2021, eq. 7)."""
        last = self.autoencoder.decoder.output.weight
        a, b = (
            torch.autograd.grad(part, last, retain_graph=True)[0].float().norm()
            for part in (rebuilt, fooled)
        )
        ratio: Tensor = (a / (b + 1e-4)).clamp(max=1e4)
        return ratio.detach()

    def _judged(self, x: Tensor, y: Tensor) -> Tensor:
        """The discriminator's hinge loss [B] (Lim and Ye 2017)."""
        assert self.discriminator is not None
        real, made = (self.discriminator(v).float().flatten(1) for v in (x, y))
        return (F.relu(1 - real).mean(1) + F.relu(1 + made).mean(1)) / 2


def _constant(network: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach() for name, value in network.named_parameters()}


def _unit(a: Tensor) -> Tensor:
    """Feature maps with unit-length vectors at every position (Zhang et al. 2018, eq. 1)."""
    a = a.float()
    return a / (a.square().sum(1, keepdim=True) + 1e-10).sqrt()


def reconstruction(
    autoencoder: Autoencoder, loss: AutoencoderLoss, maps: FeatureMaps | None
) -> Reconstruction:
    """An autoencoder with its losses, and a new discriminator if the loss is adversarial."""
    critic, config = None, autoencoder.config
    if loss.adversarial:
        critic = Discriminator(DiscriminatorConfig(config.dims, config.channels))
    return Reconstruction(autoencoder, loss, maps, critic)


def check_loss(loss: AutoencoderLoss, maps: FeatureMaps | None, world: World) -> None:
    """ValueError for a loss without its feature maps, or one that does not work with sharding."""
    if loss.perceptual and maps is None:
        raise ValueError(
            f"perceptual is {loss.perceptual}, but no feature network was given for it; name one"
            " or leave it at 0"
        )
    if loss.adversarial and world.sharded:
        raise ValueError(
            f"adversarial is {loss.adversarial}, but shards cannot be used as constants, which an"
            " adversary needs; leave shard out"
        )
