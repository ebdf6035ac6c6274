"""Augmentation on request, as a pure function of seed and update."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.data.order import words
from inkdrop.diffusion.noise import generator


def flip(x: Tensor, seed: int, update: int, *, first: int = 0) -> Tensor:
    """[B, C, *spatial] with each sample mirrored left to right with probability 1/2.

    Row i is sample `first + i` of the update's batch, so a part of a batch is flipped as in it.
    """
    coins = words(first + x.shape[0], seed, update, purpose=2)[first:] >> np.uint64(63)
    chosen = torch.from_numpy(coins.astype(bool)).to(x.device)
    return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)


@dataclass(frozen=True)
class Jitter:
    """The limits of `jitter`; each change is drawn uniformly up to its limit, 0 or more.

    shift: in sides; rotation: in degrees; scale: logarithm of the enlargement
    brightness: added to all channels; colour: added to each channel separately
    contrast: a factor's distance from 1; noise: standard deviation
    blur: share of the blurred picture in the mixture, at most 1
    """

    shift: float = 0.1
    rotation: float = 10.0
    scale: float = 0.15
    brightness: float = 0.2
    contrast: float = 0.2
    colour: float = 0.15
    noise: float = 0.1
    blur: float = 1.0

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if value < 0 or (name == "blur" and value > 1):
                most = " and at most 1" if name == "blur" else ""
                raise ValueError(f"{name} is {value}: it must be at least 0{most}")


def jitter(x: Tensor, how: Jitter, seed: int, update: int, *, first: int = 0) -> Tensor:
    """Pictures [B, C, H, W] in [-1, 1], each moved, rotated, recoloured, blurred and noised.

    Row i is sample `first + i` of the update's batch, as in `flip`. Areas that move in from outside
    repeat the border.
    """
    draws, noise = list[Tensor](), list[Tensor]()
    for row in range(first, first + len(x)):
        draw = generator(seed, "jitter", update, row)
        draws.append(torch.rand(8 + x.shape[1], generator=draw))
        noise.append(torch.randn(x.shape[1:], generator=draw))
    share = torch.stack(draws).to(x.device)  # from 0 to 1
    both = 2 * share[..., None, None] - 1  # from -1 to 1, over a picture
    y = _moved(x, how, both[:, :4, 0, 0])
    y = torch.lerp(y, _blurred(y), how.blur * share[:, 4, None, None, None])
    y = y * (1 + how.contrast * both[:, 5:6]) + how.brightness * both[:, 6:7]
    y = y + how.colour * both[:, 8:]
    y = y + how.noise * share[:, 7, None, None, None] * torch.stack(noise).to(x.device)
    return y.clamp(-1, 1)


def _moved(x: Tensor, how: Jitter, u: Tensor) -> Tensor:
    """x rotated, scaled and shifted by u [B, 4] in [-1, 1], in units of the limits."""
    angle, size = math.radians(how.rotation) * u[:, 0], (how.scale * u[:, 1]).exp()
    high = x.shape[2] / x.shape[3]  # the sampling grid is from -1 to 1 along both sides
    cos, sin = angle.cos() / size, angle.sin() / size
    rows = [cos, -sin * high, 2 * how.shift * u[:, 2], sin / high, cos, 2 * how.shift * u[:, 3]]
    where = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(x.shape), align_corners=False)
    return F.grid_sample(x, where, padding_mode="border", align_corners=False)


def _blurred(x: Tensor) -> Tensor:
    """The 3 x 3 binomial blur, with weights 1, 2, 1 along each side."""
    kernel = torch.tensor([1.0, 2.0, 1.0], device=x.device) / 4
    planes = F.pad(x, (1, 1, 1, 1), mode="replicate").flatten(0, 1)[:, None]
    return F.conv2d(planes, kernel.outer(kernel)[None, None]).view(x.shape)
