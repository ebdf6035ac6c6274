"""config.json of a diffusers control network (ControlNetModel) as our configuration, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from inkdrop.convert.files.settings import check_sane, class_of, named_errors, parsed
from inkdrop.convert.sd.unet_settings import DOWN, UP, Settings, shape_of, write_unet
from inkdrop.networks.control import ControlNetConfig
from inkdrop.networks.unet_config import UNetConfig

CLASS = "ControlNetModel"
# Settings of a U-Net that a control network does not have.
ABSENT = (
    "out_channels",
    "up_block_types",
    "sample_size",
    "dropout",
    "time_embedding_dim",
    "time_cond_proj_dim",
)


@dataclass(frozen=True)
class ControlSettings(Settings):
    """The keys of such a config.json: those of a U-Net, and those for the hint."""

    conditioning_channels: int = 3
    controlnet_conditioning_channel_order: Literal["rgb", "bgr"] = "rgb"
    conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    global_pool_conditions: Literal[False] = False


def read_control_settings(data: Mapping[str, Any], where: str) -> ControlNetConfig:
    """The configuration in a config.json."""
    class_of(data, (CLASS,), where)
    settings = parsed(ControlSettings, data, where)
    hint = ("conditioning_channels", "conditioning_embedding_out_channels")
    check_sane(settings, hint, 65536, where)
    up = {has: name for name, has in UP.items()}
    mirrored = tuple(up[DOWN[name]] for name in reversed(settings.down_block_types) if name in DOWN)
    whole = replace(settings, up_block_types=mirrored, out_channels=settings.in_channels)
    with named_errors(where):
        return ControlNetConfig(
            shape_of(whole, where),
            settings.conditioning_channels,
            settings.controlnet_conditioning_channel_order,
            settings.conditioning_embedding_out_channels,
        )


def write_control_settings(config: ControlNetConfig) -> dict[str, Any]:
    """A config.json for a configuration; ValueError for one that this format cannot express."""
    written = write_unet(config.unet)
    plain = UNetConfig()
    for name in ("dropout", "time_dim", "guidance_dim"):
        if getattr(config.unet, name) != getattr(plain, name):
            raise ValueError(
                f"{name} is {getattr(config.unet, name)}, which this format cannot express; it"
                f" takes {getattr(plain, name)}"
            )
    return {
        **{name: value for name, value in written.items() if name not in ABSENT},
        "_class_name": CLASS,
        "conditioning_channels": config.hint_channels,
        "controlnet_conditioning_channel_order": config.hint_order,
        "conditioning_embedding_out_channels": list(config.hint_widths),
    }
