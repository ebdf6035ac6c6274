"""config.json of a diffusers U-Net (UNet2DConditionModel) as our configuration, and back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from inkdrop.config import short
from inkdrop.convert.files.settings import check_sane, named_errors, parsed
from inkdrop.convert.sd.multiples import multiples
from inkdrop.networks.unet_config import UNetConfig, at_level

DOWN = {"CrossAttnDownBlock2D": True, "DownBlock2D": False}
UP = {"CrossAttnUpBlock2D": True, "UpBlock2D": False}

COUNTS = ("layers_per_block", "transformer_layers_per_block")
CHANNELS = (
    "in_channels", "out_channels", "block_out_channels", "attention_head_dim",
    "cross_attention_dim", "time_embedding_dim", "time_cond_proj_dim",
    "projection_class_embeddings_input_dim",
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """The keys of config.json: those that make the shape, those that are fixed, those ignored.

    attention_head_dim is a number of heads, whatever its name suggests.
    """

    in_channels: int = 4
    out_channels: int = 4
    sample_size: int | tuple[int, int] | None = None
    block_out_channels: tuple[int, ...] = (320, 640, 1280, 1280)
    down_block_types: tuple[str, ...] = (*("CrossAttnDownBlock2D",) * 3, "DownBlock2D")
    up_block_types: tuple[str, ...] = ("UpBlock2D", *("CrossAttnUpBlock2D",) * 3)
    layers_per_block: int | tuple[int, ...] = 2
    attention_head_dim: int | tuple[int, ...] = 8
    cross_attention_dim: int = 1280
    transformer_layers_per_block: int | tuple[int, ...] = 1
    use_linear_projection: bool = False
    norm_num_groups: int = 32
    norm_eps: float = 1e-5
    act_fn: Literal["silu", "swish"] = "silu"  # with another, the embedding of time has it too
    dropout: float = 0.0
    flip_sin_to_cos: bool = True
    freq_shift: float = 0
    downsample_padding: Literal[0, 1] = 1
    time_embedding_dim: int | None = None
    time_cond_proj_dim: int | None = None
    addition_embed_type: Literal["text_time"] | None = None
    addition_time_embed_dim: Literal[256] | None = None
    projection_class_embeddings_input_dim: int | None = None

    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] = "UNetMidBlock2DCrossAttn"
    mid_block_scale_factor: Literal[1] = 1
    mid_block_only_cross_attention: Literal[False] | None = None
    only_cross_attention: Literal[False] | tuple[Literal[False], ...] = False
    dual_cross_attention: Literal[False] = False
    center_input_sample: Literal[False] = False
    num_attention_heads: None = None
    class_embed_type: None = None
    num_class_embeds: None = None
    reverse_transformer_layers_per_block: None = None
    encoder_hid_dim: None = None
    encoder_hid_dim_type: None = None
    resnet_time_scale_shift: Literal["default"] = "default"
    resnet_skip_time_act: Literal[False] = False
    resnet_out_scale_factor: Literal[1] = 1
    time_embedding_type: Literal["positional"] = "positional"
    time_embedding_act_fn: None = None
    timestep_post_act: None = None
    conv_in_kernel: Literal[3] = 3
    conv_out_kernel: Literal[3] = 3
    class_embeddings_concat: Literal[False] = False
    attention_type: Literal["default"] = "default"
    cross_attention_norm: None = None

    # Ignored: precision is chosen when a model runs, and the other belongs to a key that is off.
    upcast_attention: bool | None = None
    addition_embed_type_num_heads: Any = None


def read_unet(data: Mapping[str, Any], where: str) -> tuple[UNetConfig, Settings]:
    """The configuration in a config.json, and its settings."""
    settings = parsed(Settings, data, where)
    with named_errors(where):
        return shape_of(settings, where), settings


def shape_of(settings: Settings, where: str) -> UNetConfig:
    """The configuration that settings describe."""
    check_sane(settings, COUNTS, 64, where)
    check_sane(settings, (*CHANNELS, "sample_size"), 65536, where)
    check_sane(settings, ("norm_eps", "dropout"), 1, where)
    attends = _attends(settings, where)
    width, multipliers = multiples(settings.block_out_channels, where)
    if settings.in_channels < settings.out_channels:
        raise ValueError(
            f"{where} has in_channels {settings.in_channels} below out_channels"
            f" {settings.out_channels}"
        )
    return UNetConfig(
        in_channels=settings.out_channels,
        concat_channels=settings.in_channels - settings.out_channels,
        width=width,
        multipliers=multipliers,
        blocks=settings.layers_per_block,
        attention=tuple(level for level, has in enumerate(attends) if has),
        heads=_of_levels(settings, "attention_head_dim", attends, where),
        cross_attention_dim=settings.cross_attention_dim,
        transformer_depth=_of_levels(settings, "transformer_layers_per_block", attends, where),
        projection="linear" if settings.use_linear_projection else "conv",
        vector_dim=_vector(settings, where),
        guidance_dim=settings.time_cond_proj_dim,
        time_dim=settings.time_embedding_dim,
        time_order="cos_sin" if settings.flip_sin_to_cos else "sin_cos",
        time_shift=settings.freq_shift,
        modulation="add",
        down_padding="symmetric" if settings.downsample_padding else "asymmetric",
        norm_groups=settings.norm_num_groups,
        norm_eps=settings.norm_eps,
        dropout=settings.dropout,
        odd_sizes="resize",
    )


def write_unet(config: UNetConfig, sizes: Sequence[int] = ()) -> dict[str, Any]:
    """A config.json for a configuration; ValueError for one that this format cannot express.

    sizes: height and width of the codes it was trained on, if known
    """
    _check_expressible(config)
    levels = range(config.levels)
    attends = [config.attends(level) for level in levels]
    down, up = ({has: name for name, has in names.items()} for names in (DOWN, UP))
    pooled = {"addition_embed_type": "text_time", "addition_time_embed_dim": 256}
    return {
        "_class_name": "UNet2DConditionModel",
        "in_channels": config.in_channels + config.concat_channels,
        "out_channels": config.in_channels,
        "sample_size": sizes[0] if len({*sizes}) == 1 else [*sizes] or None,
        "block_out_channels": [config.channels_at(level) for level in levels],
        "down_block_types": [down[has] for has in attends],
        "up_block_types": [up[has] for has in reversed(attends)],
        "layers_per_block": _plain(config.blocks),
        "attention_head_dim": _plain(
            tuple(map(config.heads_at, levels)) if config.heads is None else config.heads
        ),
        "cross_attention_dim": config.cross_attention_dim,
        "transformer_layers_per_block": _plain(config.transformer_depth),
        "use_linear_projection": config.projection == "linear",
        "norm_num_groups": config.norm_groups,
        "norm_eps": config.norm_eps,
        "act_fn": "silu",
        "dropout": config.dropout,
        "flip_sin_to_cos": config.time_order == "cos_sin",
        "freq_shift": config.time_shift,
        "downsample_padding": 1 if config.down_padding == "symmetric" else 0,
        "time_embedding_dim": config.time_dim,
        "time_cond_proj_dim": config.guidance_dim,
        "projection_class_embeddings_input_dim": config.vector_dim,
        **(pooled if config.vector_dim else {}),
    }


def _attends(settings: Settings, where: str) -> list[bool]:
    """Which levels attend; ValueError unless the way up mirrors the way down."""
    for names, known in ((settings.down_block_types, DOWN), (settings.up_block_types, UP)):
        for name in names:
            if name not in known:
                raise ValueError(
                    f"{where} has a block of type {short(name)}, which is not read here; known are:"
                    f" {', '.join(known)}"
                )
    down = [DOWN[name] for name in settings.down_block_types]
    if [UP[name] for name in reversed(settings.up_block_types)] != down:
        raise ValueError(f"{where} has up_block_types that do not mirror down_block_types")
    if len(down) != len(settings.block_out_channels) or not down:
        raise ValueError(
            f"{where} has {len(down)} block types and {len(settings.block_out_channels)}"
            " block_out_channels: each level needs one of each"
        )
    return down


def _of_levels(
    settings: Settings, name: str, attends: Sequence[bool], where: str
) -> int | tuple[int, ...]:
    """A setting of attention: one number for all levels, or one for each where they differ.

    The levels that attend count, and the last one, whose number the middle has too.
    """
    value: int | tuple[int, ...] = getattr(settings, name)
    last = len(attends) - 1
    if isinstance(value, tuple) and len(value) != len(attends):
        raise ValueError(f"{where} has {len(value)} {name} for {len(attends)} levels")
    used = [*(level for level in range(last) if attends[level]), last]
    numbers = {at_level(value, level) for level in used}
    return numbers.pop() if len(numbers) == 1 else value


def _vector(settings: Settings, where: str) -> int | None:
    """The width of what is added to the embedding of time: pooled text and sizes."""
    if settings.addition_embed_type is None:
        return None
    if settings.projection_class_embeddings_input_dim is None:
        raise ValueError(
            f"{where} adds pooled text, but lacks projection_class_embeddings_input_dim"
        )
    return settings.projection_class_embeddings_input_dim


def _check_expressible(config: UNetConfig) -> None:
    """ValueError for a configuration that only our U-Net has."""
    usual = UNetConfig(modulation="add", odd_sizes="resize", middle_attention=True)
    fixed = ("dims", "patch", "middle_attention", "num_classes", "modulation", "resample",
             "activation", "skip_scale", "odd_sizes")  # fmt: skip
    for name in fixed:
        if getattr(config, name) != getattr(usual, name):
            raise ValueError(
                f"{name} is {getattr(config, name)!r}, which this format cannot express; it takes"
                f" {getattr(usual, name)!r}"
            )
    if config.cross_attention_dim is None:
        raise ValueError("a U-Net that reads no tokens cannot be written in this format")
    if config.out_channels not in (None, config.in_channels):
        raise ValueError(
            f"out_channels is {config.out_channels}, which this format cannot express; it takes"
            f" {config.in_channels}"
        )


def _plain(value: int | tuple[int, ...]) -> int | list[int]:
    return value if isinstance(value, int) else list(value)
