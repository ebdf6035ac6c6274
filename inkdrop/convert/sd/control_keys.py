"""Names of a control network's weights in diffusers (ControlNetModel) and in LDM's single files."""

from __future__ import annotations

from dataclasses import replace

from inkdrop.convert.files.keys import Naming
from inkdrop.convert.sd import unet_keys
from inkdrop.networks.control import ControlNetConfig

DIFFUSERS = {
    "hint.layers.0": "controlnet_cond_embedding.conv_in",
    "hint.output": "controlnet_cond_embedding.conv_out",
    "zero": "controlnet_down_blocks",
    "zero_middle": "controlnet_mid_block",
}
LDM = {"zero_middle": "middle_block_out.0"}


def diffusers_naming(config: ControlNetConfig) -> Naming:
    """The names in diffusers' ControlNetModel."""
    inner = range(1, _layers(config))
    hint = {f"hint.layers.{n}": f"controlnet_cond_embedding.blocks.{n - 1}" for n in inner}
    return _beside(unet_keys.diffusers_naming(config.unet), DIFFUSERS | hint)


def ldm_naming(config: ControlNetConfig) -> Naming:
    """The names in LDM, without the prefix `control_model.`.

    An activation between two layers of the hint has a number of its own.
    """
    layers = _layers(config)
    hint = {f"hint.layers.{n}": f"input_hint_block.{2 * n}" for n in range(layers)}
    hint["hint.output"] = f"input_hint_block.{2 * layers}"
    zero = {f"zero.{n}": f"zero_convs.{n}.0" for n in range(_kept(config))}
    return _beside(unet_keys.ldm_naming(config.unet), LDM | hint | zero)


def _beside(naming: Naming, places: dict[str, str]) -> Naming:
    return replace(naming, places={**naming.places, **places})


def _layers(config: ControlNetConfig) -> int:
    return 2 * len(config.hint_widths) - 1


def _kept(config: ControlNetConfig) -> int:
    """The number of maps that a U-Net keeps for the way up."""
    blocks, levels = config.unet.blocks, config.unet.levels
    each = levels * blocks if isinstance(blocks, int) else sum(blocks)
    return each + levels
