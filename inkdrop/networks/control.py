"""ControlNet: a branch beside a frozen U-Net that reads a hint picture. Zhang et al. 2023."""

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
from inkdrop.networks.unet import UNet, WayDown
from inkdrop.networks.unet_config import UNetConfig
from inkdrop.networks.unet_parts import Residuals

ORDERS = ("rgb", "bgr")


@dataclass(frozen=True)
class ControlNetConfig:
    """Configuration of a control branch.

    unet: of the U-Net beside it; the branch has the same encoder and middle
    hint_channels: of the hint picture; hint_order: channel order that the branch was trained with
    hint_widths: channels of each level between the hint and the U-Net's input; each level after the
        first halves the size
    ValueError for values that fit no network.
    """

    unet: UNetConfig
    hint_channels: int = 3
    hint_order: Literal["rgb", "bgr"] = "rgb"
    hint_widths: tuple[int, ...] = (16, 32, 96, 256)

    def __post_init__(self) -> None:
        choose("hint_order", self.hint_order, dict.fromkeys(ORDERS))
        if min(self.hint_channels, *self.hint_widths, len(self.hint_widths)) < 1:
            raise ValueError(
                f"hint_channels is {self.hint_channels} and hint_widths is {self.hint_widths}; both"
                " must be at least 1"
            )
        if self.unet.patch > 1:
            raise ValueError(f"a control branch needs a U-Net with patch 1, not {self.unet.patch}")

    @property
    def factor(self) -> int:
        """Positions of the hint per position of the U-Net's input, along each axis."""
        return int(2 ** (len(self.hint_widths) - 1))


class Hint(nn.Module):
    """A hint [B, C, *spatial] as a map of the U-Net's first level; initially zero."""

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
    """(x, t, cond) -> Residuals for a U-Net with the same inputs.

    Reads the fields of cond that the U-Net reads, and cond.hint [B, hint_channels, *spatial *
    factor] in [0, 1]. A new branch adds nothing, because its last convolutions are zero.
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
        """A new branch to be trained, initialised as a copy of a U-Net's encoder and middle."""
        branch = ControlNet(ControlNetConfig(unet.config, hint_channels))
        own = branch.state_dict()
        copied = {name: value for name, value in unet.state_dict().items() if name in own}
        branch.load_state_dict({**own, **copied})
        return branch

    def forward(
        self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None, told: Tensor | None = None
    ) -> Residuals:
        """x [B, C, *spatial], t [B], as in the U-Net; outer: compute only that many outer levels.

        told: a hint from `embed` in place of cond.hint: [1, width, *spatial], or a batch whose
        length divides B, which is repeated (guidance stacks the batch several times).
        ValueError for a hint of another size.
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
        """A hint [B, C, *spatial] in [0, 1], encoded for all calls: [B, width, *spatial / factor].

        ValueError for other channels, or a size that is not a multiple of the factor.
        """
        channels, factor = self.control.hint_channels, self.control.factor
        sizes = hint.shape[2:]
        if hint.shape[1] != channels or any(size % factor for size in sizes):
            raise ValueError(
                f"the hint has shape {list(hint.shape)}, but the control branch takes {channels}"
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
                f"the hint is {_times(told.shape[2:], factor)}, but the sample is"
                f" {_times(x.shape[2:], factor)}; resize the hint"
            )


class Control(nn.Module):
    """A branch with its strength and, if it is the same in every call, its hint.

    hint: [1 or B, C, *spatial] in [0, 1], encoded once (None: the branch reads cond.hint)
    """

    told: Tensor | None

    def __init__(self, branch: ControlNet, scale: float = 1.0, hint: Tensor | None = None) -> None:
        super().__init__()
        self.branch, self.scale = branch, scale
        with torch.no_grad():
            told = None if hint is None else branch.embed(hint)
        self.register_buffer("told", told, persistent=False)

    def forward(self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None) -> Residuals:
        """The branch's residuals, times its scale."""
        skips, middle = self.branch(x, t, cond, outer, self.told)
        return Residuals(
            [self.scale * skip for skip in skips], None if middle is None else self.scale * middle
        )


class Controlled(nn.Module):
    """A U-Net with control branches; it has the signature of the U-Net.

    Reads the fields of cond that the U-Net reads, and cond.hint if a control has no hint bound.
    ValueError for a branch that does not fit the U-Net.
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
        """See `UNet.deep`."""
        return self.network.deep(x, t, cond, outer, self._added(x, t, cond))

    def shallow(self, x: Tensor, t: Tensor, cond: Cond, kept: Tensor, outer: int) -> Tensor:
        """See `UNet.shallow`; the branches, too, compute only their outer levels."""
        return self.network.shallow(x, t, cond, kept, outer, self._added(x, t, cond, outer).skips)

    def _added(self, x: Tensor, t: Tensor, cond: Cond, outer: int | None = None) -> Residuals:
        """The sum of the residuals of all branches."""
        said = [control(x, t, cond, outer) for control in self.controls]
        skips = [sum(each[1:], each[0]) for each in zip(*(s.skips for s in said), strict=True)]
        middles = [s.middle for s in said]
        return Residuals(skips, None if outer is not None else sum(middles[1:], middles[0]))


def unet_of(network: nn.Module) -> UNet:
    """The U-Net itself, also from within a Controlled; ValueError for any other network."""
    inner = network.network if isinstance(network, Controlled) else network
    if not isinstance(inner, UNet):
        raise ValueError(
            f"the network is a {type(network).__name__}, but only a U-Net takes control networks;"
            " use a model with a U-Net"
        )
    return inner


# The fields in which a branch may differ from its U-Net: attention, inputs besides x, constants.
# None of them changes the shapes of the residuals.
OWN = {
    "concat_channels", "out_channels", "attention", "middle_attention", "head_channels", "heads",
    "transformer_depth", "projection", "norm_groups", "norm_eps", "activation", "dropout",
    "guidance_dim", "time_dim", "time_order", "time_shift", "modulation", "skip_scale",
    "down_padding",
}  # fmt: skip


def check_fits(config: ControlNetConfig, unet: UNetConfig) -> None:
    """ValueError, naming the first field that differs, unless a branch fits a U-Net."""
    for field in fields(unet):
        mine, theirs = getattr(config.unet, field.name), getattr(unet, field.name)
        if field.name not in OWN and mine != theirs:
            raise ValueError(
                f"the control branch is for a U-Net with {field.name} {mine}, but this one has"
                f" {theirs}; get the control network for this model family"
            )


def _times(sizes: torch.Size, factor: int) -> str:
    return "x".join(str(size * factor) for size in sizes)
