"""The configuration of a U-Net, checked on construction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inkdrop.arguments import check_fields
from inkdrop.networks.checks import check_numbers, check_words
from inkdrop.networks.layers import Activation, Modulation, TimeOrder


@dataclass(frozen=True)
class UNetConfig:
    """Configuration of a U-Net; the defaults suit a small model trained from scratch.

    A tuple "per level" runs from full resolution (level 0) to the lowest resolution; the middle has
    the settings of the lowest level.

    dims: spatial axes: 1 for sound, 2 for pictures, 3 for volumes
    in_channels, out_channels: of x and of the output (None: same as x)
    concat_channels: channels of cond.concat, appended to x (5 for an inpainting model)
    patch: side of the block of pixels in one position of level 0 (1: no blocks)
    width: channels at full resolution, before the multiplier
    multipliers: channels of each level in units of width; each level after the first halves the
        size
    blocks: residual blocks per level in the encoder, for all levels or per level; the decoder has
        one more
    attention: levels with attention; -1 is the lowest
    middle_attention: attention between the two residual blocks of the middle
    head_channels: channels of one attention head, if `heads` is None
    heads: number of attention heads, for all levels or per level
    cross_attention_dim: width of cond.tokens; every attention is then a transformer
    transformer_depth: layers of each transformer, for all levels or per level
    projection: the layers before and after a transformer: 1x1 convolution or linear layer
    num_classes: classes of cond.label; row num_classes of the table is the null label
    vector_dim: width of cond.vector, added to the time embedding through two layers
    guidance_dim: width of the embedding of cond.guidance, added to the sinusoids of time
    time_dim: width of the time embedding (None: 4 width)
    time_order, time_shift: of the sinusoids: cosines or sines first, and the frequency shift
    modulation: the embedding scales and shifts the second norm (ADM) or is added before it (DDPM)
    resample: between levels: strided convolution, residual block (ADM), or mean and repetition
    down_padding: padding of the strided convolution: both ends, or the far end only (DDPM)
    norm_groups, norm_eps: of the group norms; the groups must divide the channels of each level
    activation, dropout: of the residual blocks
    skip_scale: factor of each residual sum (1, or 1/sqrt(2) in Song et al. 2021)
    odd_sizes: "pad" repeats the edges of a size that cannot be halved and crops the output;
        "resize" upsamples to the size of the skip connection (Stable Diffusion in diffusers)
    ValueError for values that fit no network.
    """

    dims: int = 2
    in_channels: int = 3
    out_channels: int | None = None
    concat_channels: int = 0
    patch: int = 1
    width: int = 64
    multipliers: tuple[int, ...] = (1, 2, 2)
    blocks: int | tuple[int, ...] = 2
    attention: tuple[int, ...] = (-1,)
    middle_attention: bool = True
    head_channels: int = 32
    heads: int | tuple[int, ...] | None = None
    cross_attention_dim: int | None = None
    transformer_depth: int | tuple[int, ...] = 1
    projection: Literal["conv", "linear"] = "linear"
    num_classes: int | None = None
    vector_dim: int | None = None
    guidance_dim: int | None = None
    time_dim: int | None = None
    time_order: TimeOrder = "cos_sin"
    time_shift: float = 0.0
    modulation: Modulation = "scale_shift"
    resample: Literal["conv", "resblock", "pool"] = "conv"
    down_padding: Literal["symmetric", "asymmetric"] = "symmetric"
    norm_groups: int = 32
    norm_eps: float = 1e-5
    activation: Activation = "silu"
    dropout: float = 0.0
    skip_scale: float = 1.0
    odd_sizes: Literal["pad", "resize"] = "pad"

    def __post_init__(self) -> None:
        check_fields(self)
        check_words(self)
        check_numbers(self, _AT_LEAST_ONE)
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"dropout is {self.dropout} but must be from 0 up to, not including, 1"
            )
        if not 0 <= self.time_shift < self.width // 2:
            raise ValueError(
                f"time_shift is {self.time_shift} but must be from 0 up to, not including,"
                f" {self.width // 2}, half the width"
            )
        if self.guidance_dim is not None and self.guidance_dim < 4:
            raise ValueError(f"guidance_dim is {self.guidance_dim} but must be at least 4")
        _check_levels(self)

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.multipliers)

    def channels_at(self, level: int) -> int:
        """Channels of a level; -1 is the lowest."""
        return self.width * self.multipliers[level]

    def heads_at(self, level: int) -> int:
        """Attention heads of a level."""
        if self.heads is None:
            return self.channels_at(level) // self.head_channels
        return at_level(self.heads, level)

    def attends(self, level: int) -> bool:
        """Whether a level has attention."""
        return level in {a % self.levels for a in self.attention}


def at_level(value: int | tuple[int, ...], level: int) -> int:
    """The value for a level, from one value for all levels or one per level."""
    return value if isinstance(value, int) else value[level]


_AT_LEAST_ONE = (
    "in_channels", "out_channels", "patch", "width", "multipliers", "blocks", "heads",
    "head_channels", "cross_attention_dim", "transformer_depth", "num_classes", "vector_dim",
    "time_dim", "norm_groups",
)  # fmt: skip


MOST_LAYERS = 4096  # in the encoder, where SDXL has 26; guards against damaged files


def _check_levels(config: UNetConfig) -> None:
    levels = config.levels
    if levels == 0:
        raise ValueError("multipliers is empty but needs one number for each level")
    for name in ("blocks", "heads", "transformer_depth"):
        value = getattr(config, name)
        if isinstance(value, tuple) and len(value) != levels:
            raise ValueError(
                f"{name} has {len(value)} numbers but there are {levels} levels in multipliers"
            )
    for level in config.attention:
        if not -levels <= level < levels:
            raise ValueError(
                f"attention names level {level} but the levels are 0 to {levels - 1} (-1: the"
                " lowest)"
            )
    if config.odd_sizes == "resize" and config.patch > 1:
        raise ValueError(f"odd_sizes 'resize' needs patch 1, not {config.patch}")
    if config.odd_sizes == "resize" and config.resample != "conv":
        raise ValueError(f"odd_sizes 'resize' needs resample 'conv', not {config.resample!r}")
    layers = sum(at_level(config.blocks, level) * _depth(config, level) for level in range(levels))
    if layers > MOST_LAYERS:
        raise ValueError(
            f"blocks and transformer_depth give {layers} layers in all, but at most {MOST_LAYERS}"
            " are supported; lower one of them"
        )
    for level in range(levels):
        _check_divides(config, level)


def _depth(config: UNetConfig, level: int) -> int:
    """Layers of the transformers of a level; 1 where it has none."""
    return at_level(config.transformer_depth, level) if config.attends(level) else 1


def _check_divides(config: UNetConfig, level: int) -> None:
    channels = config.channels_at(level)
    if channels % config.norm_groups:
        raise ValueError(
            f"level {level} has {channels} channels, not a multiple of norm_groups,"
            f" {config.norm_groups}; change width or norm_groups"
        )
    middle = config.middle_attention and level == config.levels - 1
    if not (config.attends(level) or middle):
        return
    size = config.head_channels if config.heads is None else config.heads_at(level)
    if channels % size:
        what = "heads of {} channels" if config.heads is None else "{} heads"
        name = "head_channels" if config.heads is None else "heads"
        raise ValueError(
            f"level {level} has {channels} channels, which cannot be split into"
            f" {what.format(size)}; change width or {name}"
        )
