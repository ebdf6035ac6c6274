"""Names of an autoencoder's weights in diffusers (AutoencoderKL) and in LDM's single files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

from inkdrop.convert.files.keys import ATTENTION, RESBLOCK, Naming, Rules, renamed
from inkdrop.convert.files.stored import Stored, Weights
from inkdrop.networks.autoencoder_config import AutoencoderConfig

# The place of a layer: {level} counts from full size, {way} along the way, {n} within a level.
Places = Mapping[str, Mapping[str, str]]

PLACES: Places = {
    "encoder": {
        "block": "down_blocks.{level}.resnets.{n}",
        "resample": "down_blocks.{level}.downsamplers.0",
        "middle": "mid_block.resnets.{n}",
        "attention": "mid_block.attentions.0",
    },
    "decoder": {
        "block": "up_blocks.{way}.resnets.{n}",
        "resample": "up_blocks.{way}.upsamplers.0",
        "middle": "mid_block.resnets.{n}",
        "attention": "mid_block.attentions.0",
    },
}
PLACES_LDM: Places = {
    "encoder": {
        "block": "down.{level}.block.{n}",
        "resample": "down.{level}.downsample",
        "middle": "mid.block_{next}",
        "attention": "mid.attn_1",
    },
    "decoder": {
        "block": "up.{level}.block.{n}",
        "resample": "up.{level}.upsample",
        "middle": "mid.block_{next}",
        "attention": "mid.attn_1",
    },
}

OUTER = {
    "encoder.input": "encoder.conv_in",
    "decoder.input": "decoder.conv_in",
    "encoder.output": "encoder.conv_out",
    "decoder.output": "decoder.conv_out",
    "to_code": "quant_conv",
    "from_code": "post_quant_conv",
}
DIFFUSERS = {"encoder.norm": "encoder.conv_norm_out", "decoder.norm": "decoder.conv_norm_out"}
LDM = {"encoder.norm": "encoder.norm_out", "decoder.norm": "decoder.norm_out"}
INNER_LDM: Rules = (
    (r"\.shortcut\.", ".nin_shortcut."),
    (r"\.attn_1\.attention\.out\.", ".attn_1.proj_out."),
    (r"\.attn_1\.attention\.", ".attn_1."),
)

# The names of attention's parts in diffusers until version 0.18 -> its names since.
FORMER: Rules = (
    (r"\.query\.", ".to_q."),
    (r"\.key\.", ".to_k."),
    (r"\.value\.", ".to_v."),
    (r"\.proj_attn\.", ".to_out.0."),
)

# From diffusers' names to LDM's, but for the levels of the decoder, which count the other way.
TO_LDM: Rules = (
    *FORMER,
    (r"^encoder\.down_blocks\.", "encoder.down."),
    (r"\.resnets\.(\d+)\.", r".block.\1."),
    (r"\.(down|up)samplers\.0\.", r".\1sample."),
    (r"\.mid_block\.block\.0\.", ".mid.block_1."),
    (r"\.mid_block\.block\.1\.", ".mid.block_2."),
    (r"\.mid_block\.attentions\.0\.", ".mid.attn_1."),
    (r"\.attn_1\.group_norm\.", ".attn_1.norm."),
    (r"\.to_out\.0\.", ".proj_out."),
    (r"\.to_([qkv])\.", r".\1."),
    (r"\.conv_norm_out\.", ".norm_out."),
    (r"\.conv_shortcut\.", ".nin_shortcut."),
)

# Linear layers that LDM stores as convolutions with a kernel of 1, [C', C, 1, 1].
CONVOLUTIONS_LDM = r"\.attn_1\.(q|k|v|proj_out)\.weight$"


def diffusers_naming(config: AutoencoderConfig) -> Naming:
    """The names in diffusers' AutoencoderKL."""
    return Naming(_placed(config, PLACES) | OUTER | DIFFUSERS, (*RESBLOCK, *ATTENTION))


def ldm_naming(config: AutoencoderConfig) -> Naming:
    """The names in LDM, without the prefix `first_stage_model.`."""
    return Naming(_placed(config, PLACES_LDM) | OUTER | LDM, INNER_LDM)


def as_ldm(weights: Weights) -> dict[str, Stored]:
    """The weights of an autoencoder under LDM's names, if they have those of diffusers."""
    ways = [int(m[1]) for n in weights if (m := re.match(r"decoder\.up_blocks\.(\d+)\.", n))]
    if not ways:
        return dict(weights)

    def level(match: re.Match[str]) -> str:
        return f"decoder.up.{max(ways) - int(match[1])}."

    return {
        re.sub(r"^decoder\.up_blocks\.(\d+)\.", level, renamed(name, TO_LDM)): value
        for name, value in weights.items()
    }


def _placed(config: AutoencoderConfig, places: Places) -> dict[str, str]:
    """The place of each layer in both halves, which are one sequence each in our network."""
    levels = len(config.multipliers)
    down = [*_way(range(levels), config.blocks), *_middle(config)]
    up = [*_middle(config), *_way(range(levels - 1, -1, -1), config.blocks + 1)]
    found = {}
    for half, layers in (("encoder", down), ("decoder", up)):
        for index, (kind, level, way, n) in enumerate(layers):
            theirs = places[half][kind].format(level=level, way=way, n=n, next=n + 1)
            found[f"{half}.layers.{index}"] = f"{half}.{theirs}"
    return found


def _way(levels: range, blocks: int) -> Iterator[tuple[str, int, int, int]]:
    for way, level in enumerate(levels):
        for n in range(blocks):
            yield "block", level, way, n
        if level != levels[-1]:
            yield "resample", level, way, 0


def _middle(config: AutoencoderConfig) -> list[tuple[str, int, int, int]]:
    attention = [("attention", 0, 0, 0)] if config.middle_attention else []
    return [("middle", 0, 0, 0), *attention, ("middle", 0, 0, 1)]
