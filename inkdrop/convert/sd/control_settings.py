"""config.json of a diffusers control network (ControlNetModel) as our shape, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from inkdrop.convert.files.layout import CONTROL_CLASS
from inkdrop.convert.files.settings import check_sane, parsed, said_by
from inkdrop.convert.sd.unet_settings import DOWN, UP, Settings, shape_of, write_unet
from inkdrop.networks.control import ControlNetConfig
from inkdrop.networks.unet_config import UNetConfig

# What a U-Net's settings say and those of a control network do not.
NOT_SAID = (
    "out_channels",
    "up_block_types",
    "sample_size",
    "dropout",
    "time_embedding_dim",
    "time_cond_proj_dim",
)


@dataclass(frozen=True)
class ControlSettings(Settings):
    """What such a config.json can say: what a U-Net's can, and of the hint."""

    conditioning_channels: int = 3
    controlnet_conditioning_channel_order: Literal["rgb", "bgr"] = "rgb"
    conditioning_embedding_out_channels: tuple[int, ...] = (16, 32, 96, 256)
    global_pool_conditions: Literal[False] = False


def read_control_settings(data: Mapping[str, Any], where: str) -> ControlNetConfig:
    """The shape that a config.json describes."""
    told = parsed(ControlSettings, data, where)
    hint = ("conditioning_channels", "conditioning_embedding_out_channels")
    check_sane(told, hint, 65536, where)
    up = {has: name for name, has in UP.items()}
    mirrored = tuple(up[DOWN[name]] for name in reversed(told.down_block_types) if name in DOWN)
    whole = replace(told, up_block_types=mirrored, out_channels=told.in_channels)
    with said_by(where):
        return ControlNetConfig(
            shape_of(whole, where),
            told.conditioning_channels,
            told.controlnet_conditioning_channel_order,
            told.conditioning_embedding_out_channels,
        )


def write_control_settings(config: ControlNetConfig) -> dict[str, Any]:
    """A config.json for a shape; ValueError for one that this format cannot say."""
    said = write_unet(config.unet)
    plain = UNetConfig()
    for name in ("dropout", "time_dim", "guidance_dim"):
        if getattr(config.unet, name) != getattr(plain, name):
            raise ValueError(
                f"{name} is {getattr(config.unet, name)}, which this format cannot say; it takes"
                f" {getattr(plain, name)}"
            )
    return {
        **{name: value for name, value in said.items() if name not in NOT_SAID},
        "_class_name": CONTROL_CLASS,
        "conditioning_channels": config.hint_channels,
        "controlnet_conditioning_channel_order": config.hint_order,
        "conditioning_embedding_out_channels": list(config.hint_widths),
    }
