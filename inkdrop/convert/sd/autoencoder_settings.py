"""config.json of AutoencoderKL and AutoencoderTiny as our configuration, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from inkdrop.codecs.latent import LatentConfig
from inkdrop.convert.files.settings import check_sane, class_of, named_errors, parsed
from inkdrop.convert.sd.multiples import multiples
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig


class Scaling(NamedTuple):
    """Diffusion works on (code - shift) * scale, for each channel of the code.

    upcast: see `LatentConfig`
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    upcast: bool = False


@dataclass(frozen=True)
class Settings:
    """The keys of an AutoencoderKL's config.json.

    latents_mean, latents_std, shift_factor, scaling_factor: diffusion works on
    (code - mean - shift) * scaling / std
    """

    in_channels: int = 3
    out_channels: int = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[int, ...] = (64,)
    layers_per_block: int = 1
    latent_channels: int = 4
    norm_num_groups: int = 32
    scaling_factor: float = 0.18215
    shift_factor: float | None = None
    latents_mean: tuple[float, ...] | None = None
    latents_std: tuple[float, ...] | None = None
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    act_fn: Literal["silu", "swish"] = "silu"

    force_upcast: bool | None = True

    # Ignored: the size of the pictures it was trained on.
    sample_size: Any = None


@dataclass(frozen=True)
class TinySettings:
    """The keys of an AutoencoderTiny's config.json."""

    in_channels: int = 3
    out_channels: int = 3
    encoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[int, ...] = (64, 64, 64, 64)
    num_encoder_blocks: tuple[int, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[int, ...] = (3, 3, 3, 1)
    latent_channels: int = 4
    scaling_factor: float = 1.0
    shift_factor: float = 0.0

    force_upcast: bool | None = False

    act_fn: Literal["relu"] = "relu"
    upsample_fn: Literal["nearest"] = "nearest"
    upsampling_scaling_factor: Literal[2] = 2

    # Ignored: for codes stored as bytes, and a copy of another key.
    latent_magnitude: Any = None
    latent_shift: Any = None
    block_out_channels: Any = None


AUTOENCODERS = ("AutoencoderKL", "AutoencoderTiny")


def read_autoencoder(
    data: Mapping[str, Any], where: str
) -> tuple[AutoencoderConfig | TAESDConfig, Scaling]:
    """The configuration in a config.json, and the scaling of its code."""
    if class_of(data, AUTOENCODERS, where) == "AutoencoderTiny":
        tiny = parsed(TinySettings, data, where)
        with named_errors(where):
            return _tiny(tiny, where)
    settings = parsed(Settings, data, where)
    with named_errors(where):
        return _usual(settings, where)


def write_autoencoder(codec: LatentConfig, sample_size: int | None = None) -> dict[str, Any]:
    """A config.json for an autoencoder with its scaling; ValueError if it cannot express it."""
    config = codec.autoencoder
    if isinstance(config, TAESDConfig):
        return _write_tiny(config, codec)
    usual = AutoencoderConfig(linear=False)
    for name in ("dims", "codes", "patch", "linear", "down_padding", "norm_eps"):
        if getattr(config, name) != getattr(usual, name):
            raise ValueError(
                f"{name} of the autoencoder is {getattr(config, name)!r}, which this format cannot"
                f" express; it takes {getattr(usual, name)!r}"
            )
    levels = len(config.multipliers)
    return {
        "_class_name": "AutoencoderKL",
        "in_channels": config.channels,
        "out_channels": config.channels,
        "down_block_types": ["DownEncoderBlock2D"] * levels,
        "up_block_types": ["UpDecoderBlock2D"] * levels,
        "block_out_channels": [config.width * m for m in config.multipliers],
        "layers_per_block": config.blocks,
        "latent_channels": config.latent_channels,
        "norm_num_groups": config.norm_groups,
        "act_fn": "silu",
        "force_upcast": codec.upcast,
        "sample_size": sample_size,
        "use_quant_conv": config.code_conv,
        "use_post_quant_conv": config.code_conv,
        "mid_block_add_attention": config.middle_attention,
        **_write_scaling(codec),
    }


def _usual(settings: Settings, where: str) -> tuple[AutoencoderConfig, Scaling]:
    check_sane(settings, ("layers_per_block",), 64, where)
    check_sane(settings, ("in_channels", "latent_channels", "block_out_channels"), 65536, where)
    _same(settings, ("in_channels", "out_channels"), where)
    _same(settings, ("use_quant_conv", "use_post_quant_conv"), where)
    width, multipliers = multiples(settings.block_out_channels, where)
    config = AutoencoderConfig(
        channels=settings.in_channels,
        latent_channels=settings.latent_channels,
        width=width,
        multipliers=multipliers,
        blocks=settings.layers_per_block,
        middle_attention=settings.mid_block_add_attention,
        code_conv=settings.use_quant_conv,
        norm_groups=settings.norm_num_groups,
    )
    return config, _scaling(settings, where)


def _tiny(settings: TinySettings, where: str) -> tuple[TAESDConfig, Scaling]:
    check_sane(settings, ("num_encoder_blocks", "num_decoder_blocks"), 64, where)
    check_sane(
        settings, ("in_channels", "latent_channels", "encoder_block_out_channels"), 65536, where
    )
    widths = {*settings.encoder_block_out_channels, *settings.decoder_block_out_channels}
    _same(settings, ("in_channels", "out_channels"), where)
    if len(widths) != 1:
        raise ValueError(
            f"{where} has levels of {sorted(widths)} channels; only equal levels are read"
        )
    config = TAESDConfig(
        channels=settings.in_channels,
        latent_channels=settings.latent_channels,
        width=widths.pop(),
        encoder_blocks=settings.num_encoder_blocks,
        decoder_blocks=settings.num_decoder_blocks,
    )
    count = settings.latent_channels
    shift, scale = (settings.shift_factor,) * count, (settings.scaling_factor,) * count
    return config, Scaling(shift, scale, bool(settings.force_upcast))


def _write_tiny(config: TAESDConfig, codec: LatentConfig) -> dict[str, Any]:
    if len({*codec.shift}) > 1 or len({*codec.scale}) > 1 or config.dims != 2:
        raise ValueError("a tiny autoencoder in this format has 2 axes, one shift and one scale")
    return {
        "_class_name": "AutoencoderTiny",
        "in_channels": config.channels,
        "out_channels": config.channels,
        "encoder_block_out_channels": [config.width] * len(config.encoder_blocks),
        "decoder_block_out_channels": [config.width] * len(config.decoder_blocks),
        "num_encoder_blocks": list(config.encoder_blocks),
        "num_decoder_blocks": list(config.decoder_blocks),
        "latent_channels": config.latent_channels,
        "scaling_factor": codec.scale[0],
        "shift_factor": codec.shift[0],
        "act_fn": "relu",
        "force_upcast": codec.upcast,
    }


def _scaling(settings: Settings, where: str) -> Scaling:
    channels = settings.latent_channels
    mean = settings.latents_mean or (0.0,) * channels
    std = settings.latents_std or (1.0,) * channels
    for name, values in (("latents_mean", mean), ("latents_std", std)):
        if len(values) != channels:
            raise ValueError(f"{where} has {len(values)} {name} for {channels} latent_channels")
    if not all(spread > 0 for spread in std):
        raise ValueError(f"{where} has latents_std {list(std)}: every spread must be above 0")
    shift = settings.shift_factor or 0.0
    scale = tuple(settings.scaling_factor / s for s in std)
    return Scaling(tuple(m + shift for m in mean), scale, bool(settings.force_upcast))


def _write_scaling(codec: LatentConfig) -> dict[str, Any]:
    """One shift and one factor if all channels share them, else mean and spread of each."""
    if len({*codec.shift}) == 1 and len({*codec.scale}) == 1:
        shift = {"shift_factor": codec.shift[0]} if codec.shift[0] else {}
        return {"scaling_factor": codec.scale[0], **shift}
    return {
        "scaling_factor": 1.0,
        "latents_mean": list(codec.shift),
        "latents_std": [1 / scale for scale in codec.scale],
    }


def _same(settings: object, names: tuple[str, str], where: str) -> None:
    first, second = (getattr(settings, name) for name in names)
    if first != second:
        raise ValueError(
            f"{where} has {names[0]} {first} and {names[1]} {second}; only equal values are read"
        )
