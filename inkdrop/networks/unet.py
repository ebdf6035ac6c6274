"""The U-Net of DDPM, ADM and Stable Diffusion, over 1, 2 or 3 spatial axes."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from types import EllipsisType
from typing import Literal, cast

import torch
from torch import Tensor, nn

from inkdrop.arguments import check_kind
from inkdrop.cond import Cond
from inkdrop.networks import checks
from inkdrop.networks.attention import AttentionBlock, Transformer
from inkdrop.networks.layers import ACTIVATIONS, Embed, conv, sinusoidal, zeroed
from inkdrop.networks.resample import Downsample, Upsample, pad_to_multiple, unpatch
from inkdrop.networks.resblock import BlockStyle, ResBlock
from inkdrop.networks.unet_config import UNetConfig, at_level
from inkdrop.networks.unet_parts import Context, Level, Residuals, Stage

__all__ = ["UNet", "UNetConfig"]


class WayDown(nn.Module):
    """The encoder and the middle of a U-Net, shared by the U-Net and a control branch.

    kept: channels of each skip connection, in order of computation.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        check_kind("UNet: config", config, UNetConfig)
        self.config = config
        time_dim = config.time_dim or 4 * config.width
        self._style = BlockStyle(
            config.dims,
            embed=time_dim,
            modulation=config.modulation,
            groups=config.norm_groups,
            eps=config.norm_eps,
            activation=config.activation,
            dropout=config.dropout,
            scale=config.skip_scale,
        )
        self.time = Embed(config.width, time_dim)
        self.label = nn.Embedding(config.num_classes + 1, time_dim) if config.num_classes else None
        guided = config.guidance_dim
        self.guidance = nn.Linear(guided, config.width, bias=False) if guided else None
        self.vector = Embed(config.vector_dim, time_dim) if config.vector_dim else None
        joined = config.in_channels + config.concat_channels
        self.input = self._input(joined)
        kept = [config.channels_at(0)]
        self.down = nn.ModuleList(self._down(level, kept) for level in range(config.levels))
        self.mid = self._mid()
        self.kept = tuple(kept)

    def prepared(self, x: Tensor, cond: Cond) -> tuple[Tensor, tuple[slice | EllipsisType, ...]]:
        """x with cond.concat appended, padded as in `padded`, and the index that crops it back."""
        return self.padded(checks.joined(x, cond, self.config))

    def padded(self, x: Tensor) -> tuple[Tensor, tuple[slice | EllipsisType, ...]]:
        """x padded so that every level has a whole size, and the index that crops it back."""
        if self.config.odd_sizes == "resize":
            return x, (...,)
        return pad_to_multiple(x, self.config.patch * 2 ** (self.config.levels - 1))

    def encode(
        self,
        x: Tensor,
        context: Context,
        levels: int | None = None,
        added: Tensor | None = None,
    ) -> tuple[Tensor, list[Tensor]]:
        """The encoder: the map of the lowest level, and all skip connections.

        levels: compute only the first `levels` levels, without the resampling after them; added: a
        map to add after the first convolution.
        """
        h = self.input(x)
        if added is not None:
            h = h + added
        skips = [h]
        for depth, level in enumerate(cast(Iterable[Level], self.down), start=1):
            for stage in level.stages:
                h = stage(h, context)
                skips.append(h)
            if depth == levels:
                break
            if level.resample is not None:
                h = level.resample(h, context.emb)
                skips.append(h)
        return h, skips

    def middle(self, h: Tensor, context: Context) -> Tensor:
        """The middle blocks, at the lowest resolution."""
        for stage in self.mid:
            h = stage(h, context)
        return h

    def context(self, t: Tensor, cond: Cond) -> Context:
        """The activated embedding of time, guidance, label and vector, and the tokens."""
        config = self.config
        waves = sinusoidal(t, config.width, order=config.time_order, shift=config.time_shift)
        if self.guidance is not None:
            waves = waves + self.guidance(self._strength(checks.guidance(cond)))
        emb = self.time(waves)
        if self.label is not None:
            emb = emb + self.label(checks.labels(cond, config.num_classes or 0))
        if self.vector is not None:
            emb = emb + self.vector(checks.needed(cond.vector, "vector", config.vector_dim))
        tokens = None
        if config.cross_attention_dim is not None:
            tokens = checks.tokens(cond, config.cross_attention_dim).to(emb.dtype)
        return Context(self.activation(emb), tokens, cond.mask)

    def _strength(self, guidance: Tensor) -> Tensor:
        """[B] -> [B, guidance_dim]: sinusoids of 1000 (guidance - 1), as in Luo et al. 2023."""
        dim, weight = self.config.guidance_dim or 0, next(self.time.parameters())
        waves = sinusoidal(1000 * (guidance - 1), dim, order="sin_cos", shift=1)
        return waves.to(weight.dtype)

    @property
    def activation(self) -> Callable[[Tensor], Tensor]:
        """The activation function of all blocks."""
        return ACTIVATIONS[self.config.activation]

    def _input(self, channels: int) -> nn.Module:
        config = self.config
        if config.patch == 1:
            return conv(config.dims, channels, config.channels_at(0))
        # This kernel overlaps the neighbouring blocks.
        kernel = 2 * config.patch - 1
        return conv(
            config.dims, channels, config.channels_at(0), kernel=kernel, stride=config.patch
        )

    def _down(self, level: int, kept: list[int]) -> Level:
        stages = []
        channels = self.config.channels_at(level)
        for _ in range(at_level(self.config.blocks, level)):
            stages.append(self._stage(kept[-1], level, self.config.attends(level)))
            kept.append(channels)
        if level == self.config.levels - 1:
            return Level(stages, None)
        kept.append(channels)
        return Level(stages, self._resample(channels, "down"))

    def _mid(self) -> nn.ModuleList:
        channels = self.config.channels_at(-1)
        return nn.ModuleList(
            self._stage(channels, self.config.levels - 1, attention)
            for attention in (self.config.middle_attention, False)
        )

    def _stage(self, channels: int, level: int, attention: bool) -> Stage:
        block = ResBlock(self._style, channels, self.config.channels_at(level))
        return Stage(block, self._attention(level) if attention else None)

    def _attention(self, level: int) -> nn.Module:
        config = self.config
        channels, heads = config.channels_at(level), config.heads_at(level)
        if config.cross_attention_dim is None:
            return AttentionBlock(self._style, channels, heads)
        return Transformer(
            self._style,
            channels,
            heads,
            depth=at_level(config.transformer_depth, level),
            context=config.cross_attention_dim,
            projection=config.projection,
        )

    def _resample(self, channels: int, way: Literal["up", "down"]) -> nn.Module:
        kind, dims = self.config.resample, self.config.dims
        if kind == "resblock":
            return ResBlock(self._style, channels, channels, resample=way)
        if way == "up":
            return Upsample(dims, channels, learned=kind == "conv")
        return Downsample(dims, channels, learned=kind == "conv", padding=self.config.down_padding)


class UNet(WayDown):
    """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial]; Ronneberger 2015, Ho et al. 2020.

    Reads cond.label (with num_classes), tokens and mask (with cross_attention_dim), vector (with
    vector_dim), concat (with concat_channels) and guidance (with guidance_dim). Any spatial size.
    A new network returns zeros.

    Masked tokens have no effect. If all tokens of a sample are masked, cross-attention adds only
    its output bias, the same at every position: this is the empty condition.
    """

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        skips = list(self.kept)
        self.up = nn.ModuleList(self._up(level, skips) for level in reversed(range(config.levels)))
        self.norm = self._style.norm(config.channels_at(0))
        out = (config.out_channels or config.in_channels) * config.patch**config.dims
        self.output = zeroed(conv(config.dims, config.channels_at(0), out))

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """x [B, C, *spatial], t [B] in units of 0 to about 1000 -> [B, C', *spatial]."""
        return self.deep(x, t, cond, self.levels)[0]

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return self.config.levels

    def deep(
        self, x: Tensor, t: Tensor, cond: Cond, outer: int, added: Residuals | None = None
    ) -> tuple[Tensor, Tensor]:
        """The output [B, C', *spatial], and the map that enters the `outer` levels, for `shallow`.

        added: the residuals of control branches
        """
        checks.one_time_each(x, t)
        context = self.context(t, cond)
        x, crop = self.prepared(x, cond)
        h, skips = self.encode(x, context)
        h = self.middle(h, context)
        if added is not None:
            assert added.middle is not None
            h, skips = h + added.middle, _summed(skips, added.skips)
        kept = self.decode(h, skips, context, range(self.levels - 1, outer - 1, -1))
        h = self.decode(kept, skips, context, range(outer - 1, -1, -1))
        return self.finished(h, crop), kept

    def shallow(
        self,
        x: Tensor,
        t: Tensor,
        cond: Cond,
        kept: Tensor,
        outer: int,
        added: list[Tensor] | None = None,
    ) -> Tensor:
        """The output [B, C', *spatial] of the `outer` levels only; `kept` stands for those below.

        added: maps to add to the skip connections of these levels
        """
        checks.one_time_each(x, t)
        context = self.context(t, cond)
        x, crop = self.prepared(x, cond)
        skips = self.encode(x, context, outer)[1]
        if added is not None:
            skips = _summed(skips, added)
        return self.finished(self.decode(kept, skips, context, range(outer - 1, -1, -1)), crop)

    def finished(self, h: Tensor, crop: tuple[slice | EllipsisType, ...]) -> Tensor:
        """The network's output from the last map of the decoder, cropped to x's size."""
        h = self.output(self.activation(self.norm(h)))
        return (h if self.config.patch == 1 else unpatch(h, self.config.patch))[crop]

    def decode(self, h: Tensor, skips: list[Tensor], context: Context, levels: range) -> Tensor:
        """The decoder; consumes the skip connections from the end of `skips`.

        levels: the levels to compute, within config.levels - 1 (the deepest) down to 0.
        """
        for depth in levels:
            level = cast(Level, self.up[self.config.levels - 1 - depth])
            for stage in level.stages:
                h = stage(torch.cat([h, skips.pop()], dim=1), context)
            if level.resample is not None:
                size = skips[-1].shape[2:] if self.config.odd_sizes == "resize" else None
                h = level.resample(h, context.emb, size)
        return h

    def _up(self, level: int, skips: list[int]) -> Level:
        stages = []
        channels = self.config.channels_at(min(level + 1, self.config.levels - 1))
        for _ in range(at_level(self.config.blocks, level) + 1):
            stages.append(self._stage(channels + skips.pop(), level, self.config.attends(level)))
            channels = self.config.channels_at(level)
        return Level(stages, self._resample(channels, "up") if level else None)


def _summed(maps: list[Tensor], added: list[Tensor]) -> list[Tensor]:
    return [h + more for h, more in zip(maps, added, strict=True)]
