"""Control: a branch beside a frozen U-Net that reads a picture. Zhang et al. 2023 (ControlNet)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.config import choose
from inkdrop.networks import checks
from inkdrop.networks.layers import conv, zeroed
from inkdrop.networks.unet import Residuals, UNet, WayDown
from inkdrop.networks.unet_config import UNetConfig

ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class ControlNetConfig:
    """The shape of a control branch.

    unet: of the U-Net that it stands beside, whose way down and middle it has
    hint_channels: of the picture; hint_order: bgr where it was trained on pictures read that way
    hint_widths: channels on the way from the picture's size to the code's; each step after the
        first halves it
    """

    unet: UNetConfig
    hint_channels: int = 3
    hint_order: Literal["rgb", "bgr"] = "rgb"
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)

    def __post_init__(self) -> None:
        choose("hint_order", self.hint_order, dict.fromkeys(ORDERS))
        if min(self.hint_channels, *self.hint_widths, len(self.hint_widths)) < 1:
            raise ValueError(
                f"hint_channels is {self.hint_channels} and hint_widths {self.hint_widths}: both"
                " need numbers of at least 1"
            )
        if self.unet.patch > 1:
            raise ValueError(f"a control branch needs a U-Net with patch 1, not {self.unet.patch}")

    @property
    def factor(self) -> int:
        """How many places of the hint a place of the U-Net's input stands for, along each axis."""
        return int(2 ** (len(self.hint_widths) - 1))


class Hint(nn.Module):
    """A picture [B, C, *spatial] as a map of the U-Net's first level; at first it says nothing."""

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__()
        dims, widths = config.unet.dims, config.hint_widths
        layers = [conv(dims, config.hint_channels, widths[0])]
        for width, wider in pairwise(widths):
            layers += [conv(dims, width, width), conv(dims, width, wider, stride=2)]
        self.layers = nn.ModuleList(layers)
        self.output = zeroed(conv(dims, widths[-1], config.unet.channels_at(0)))

    def forward(self, hint: Tensor) -> Tensor:
        """[B, C, *spatial] -> [B, width, *spatial / factor]."""
        for layer in self.layers:
            hint = F.silu(layer(hint))
        h: Tensor = self.output(hint)
        return h


class ControlNet(WayDown):
    """(x, t, cond) -> Residuals for a U-Net that is asked the same.

    Reads what the U-Net reads and cond.hint [B, hint_channels, *spatial * factor], from 0 to 1. A
    new one adds nothing: it ends in convolutions of zeros.
    """

    def __init__(self, config: ControlNetConfig) -> None:
        super().__init__(config.unet)
        self.control = config
        self.hint = Hint(config)
        dims = config.unet.dims
        self.zero = nn.ModuleList(zeroed(conv(dims, c, c, kernel=1)) for c in self.kept)
        middle = config.unet.channels_at(-1)
        self.zero_middle = zeroed(conv(dims, middle, middle, kernel=1))

    @staticmethod
    def beside(unet: UNet, hint_channels: int = 3) -> ControlNet:
        """A new branch that begins as a copy of a U-Net's way down and middle, to be trained."""
        branch = ControlNet(ControlNetConfig(unet.config, hint_channels))
        own = branch.state_dict()
        copied = {name: value for name, value in unet.state_dict().items() if name in own}
        branch.load_state_dict({**own, **copied})
        return branch

    def forward(
        self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None, told: Tensor | None = None
    ) -> Residuals:
        """x [B, C, *spatial], t [B] as of the U-Net; outer: of so many levels alone.

        told: a hint that `embed` has read, instead of cond.hint: [1, width, *spatial], or such a
        batch that x is it once or several times.
        """
        checks.one_time_each(x, t)
        if told is None:
            hint = checks.needed(cond.hint, "hint", self.control.hint_channels, 1)
            told = self.embed(hint)
        self._check_size(told, x)
        context = self.context(t, cond)
        h, _ = self.prepared(x, cond)
        if len(told) > 1:
            told = told.repeat(len(x) // len(told), *(1,) * (told.ndim - 1))
        h, skips = self.encode(h, context, outer, added=self.padded(told)[0])
        added = [zero(skip) for zero, skip in zip(self.zero, skips, strict=False)]
        return Residuals(
            added, None if outer is not None else self.zero_middle(self.middle(h, context))
        )

    def embed(self, hint: Tensor) -> Tensor:
        """What a hint [B, C, *spatial] says in every call: [B, width, *spatial / factor]."""
        channels, factor = self.control.hint_channels, self.control.factor
        sizes = hint.shape[2:]
        if hint.shape[1] != channels or any(size % factor for size in sizes):
            raise ValueError(
                f"the hint has shape {list(hint.shape)}, but the control branch reads {channels}"
                f" channels and sizes that are multiples of {factor}"
            )
        weight = next(self.time.parameters())
        hint = hint.to(weight.device, weight.dtype)
        told: Tensor = self.hint(hint if self.control.hint_order == "rgb" else hint.flip(1))
        return told

    def _check_size(self, told: Tensor, x: Tensor) -> None:
        if told.shape[2:] != x.shape[2:]:
            factor = self.control.factor
            raise ValueError(
                f"the hint is of {_times(told.shape[2:], factor)}, but what is made of"
                f" {_times(x.shape[2:], factor)}; resize the hint"
            )


class Control(nn.Module):
    """A branch with its strength and, where it is always the same, its hint.

    hint: [1 or B, C, *spatial] from 0 to 1, read once; without one the branch reads cond.hint
    """

    told: Tensor | None

    def __init__(self, branch: ControlNet, scale: float = 1.0, hint: Tensor | None = None) -> None:
        super().__init__()
        self.branch, self.scale = branch, scale
        with torch.no_grad():
            told = None if hint is None else branch.embed(hint)
        self.register_buffer("told", told, persistent=False)

    def forward(self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None) -> Residuals:
        """What the branch says, times its scale."""
        skips, middle = self.branch(x, t, cond, outer, self.told)
        return Residuals(
            [self.scale * skip for skip in skips], None if middle is None else self.scale * middle
        )


class Controlled(nn.Module):
    """A U-Net with branches beside it, of the U-Net's own signature.

    Reads what the U-Net reads, and what those controls read that have no hint bound.
    """

    def __init__(self, network: UNet, controls: Sequence[Control]) -> None:
        super().__init__()
        for control in controls:
            check_fits(control.branch.control, network.config)
        self.network, self.controls = network, nn.ModuleList(controls)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x [B, C, *spatial], t [B] -> [B, C', *spatial]."""
        return self.deep(x, t, cond, self.levels)[0]

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return self.network.levels

    def deep(self, x: Tensor, t: Tensor, cond: Cond, outer: int) -> tuple[Tensor, Tensor]:
        """As the U-Net's."""
        return self.network.deep(x, t, cond, outer, self._added(x, t, cond))

    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor:
        """As the U-Net's; of the branches run the outer levels alone too."""
        return self.network.shallow(x, t, cond, kept, outer, self._added(x, t, cond, outer).skips)

    def _added(self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None) -> Residuals:
        """What all branches add."""
        said = [control(x, t, cond, outer) for control in self.controls]
        skips = [sum(each[1:], each[0]) for each in zip(*(s.skips for s in said), strict=True)]
        middles = [s.middle for s in said]
        return Residuals(skips, None if outer is not None else sum(middles[1:], middles[0]))


def unet_of(network: nn.Module) -> UNet:
    """The U-Net of a network that may be controlled already; ValueError for any other."""
    inner = network.network if isinstance(network, Controlled) else network
    if not isinstance(inner, UNet):
        raise ValueError(f"a {type(network).__name__} cannot be controlled: only a U-Net can")
    return inner


# What of a branch may differ from its U-Net: how it attends, what it is told beside x, its numbers.
OWN = {
    "concat_channels", "out_channels", "attention", "middle_attention", "head_channels", "heads",
    "transformer_depth", "projection", "norm_groups", "norm_eps", "activation", "dropout",
    "guidance_dim", "time_dim", "time_order", "time_shift", "modulation", "skip_scale",
    "down_padding",
}  # fmt: skip


def check_fits(config: ControlNetConfig, unet: UNetConfig) -> None:
    """ValueError for the first field by which a branch does not fit a U-Net."""
    for field in fields(unet):
        mine, theirs = getattr(config.unet, field.name), getattr(unet, field.name)
        if field.name not in OWN and mine != theirs:
            raise ValueError(
                f"the control branch is for a U-Net with {field.name} {mine}, but this one has"
                f" {theirs}; get the one for this family"
            )


def _times(sizes: torch.Size, factor: int) -> str:
    return "x".join(str(size * factor) for size in sizes)
