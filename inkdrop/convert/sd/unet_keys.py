"""Names of a U-Net's weights in diffusers and in the single files of latent diffusion (LDM)."""

from __future__ import annotations

from inkdrop.convert.files.keys import ATTENTION, RESBLOCK, TRANSFORMER, Naming, Rules
from inkdrop.networks.unet_config import UNetConfig, at_level

DIFFUSERS = {
    "input": "conv_in",
    "norm": "conv_norm_out",
    "output": "conv_out",
    "time.first": "time_embedding.linear_1",
    "time.second": "time_embedding.linear_2",
    "guidance": "time_embedding.cond_proj",
    "label": "class_embedding",
    "vector.first": "add_embedding.linear_1",
    "vector.second": "add_embedding.linear_2",
}
STAGES: Rules = (
    (r"^mid\.(\d+)\.block\.", r"mid_block.resnets.\1."),
    (r"^mid\.(\d+)\.attention\.", r"mid_block.attentions.\1."),
    (r"^(down|up)\.(\d+)\.stages\.(\d+)\.block\.", r"\1_blocks.\2.resnets.\3."),
    (r"^(down|up)\.(\d+)\.stages\.(\d+)\.attention\.", r"\1_blocks.\2.attentions.\3."),
    (r"^(down|up)\.(\d+)\.resample\.", r"\1_blocks.\2.\1samplers.0."),
)

LDM = {
    "input": "input_blocks.0.0",
    "norm": "out.0",
    "output": "out.2",
    "time.first": "time_embed.0",
    "time.second": "time_embed.2",
    "vector.first": "label_emb.0.0",
    "vector.second": "label_emb.0.2",
    "mid.0.block": "middle_block.0",
    "mid.0.attention": "middle_block.1",
    "mid.1.block": "middle_block.2",
}
# Residual blocks are recognised by their places, since transformers have a norm1 and norm2 too.
_BLOCK = r"^((?:input|output)_blocks\.\d+\.0|middle_block\.[02])"
RESBLOCK_LDM: Rules = (
    (rf"{_BLOCK}\.norm1\.", r"\1.in_layers.0."),
    (rf"{_BLOCK}\.conv1\.", r"\1.in_layers.2."),
    (rf"{_BLOCK}\.modulate\.", r"\1.emb_layers.1."),
    (rf"{_BLOCK}\.norm2\.", r"\1.out_layers.0."),
    (rf"{_BLOCK}\.conv2\.", r"\1.out_layers.3."),
    (rf"{_BLOCK}\.shortcut\.", r"\1.skip_connection."),
)


def diffusers_naming(config: UNetConfig) -> Naming:
    """The names in diffusers' UNet2DConditionModel, or in UNet2DModel without text."""
    inner = ATTENTION if config.cross_attention_dim is None else TRANSFORMER
    return Naming(DIFFUSERS, (*STAGES, *RESBLOCK, *inner))


def ldm_naming(config: UNetConfig) -> Naming:
    """The names in LDM, without the prefix `model.diffusion_model.`.

    LDM numbers all blocks of a way consecutively. A step to the next size is a block of its own on
    the way down, and the last member of a block on the way up.
    """
    return Naming(LDM | _down(config) | _up(config), (*RESBLOCK_LDM, *TRANSFORMER))


def _down(config: UNetConfig) -> dict[str, str]:
    places, number = {}, 1
    for level in range(config.levels):
        for stage in range(at_level(config.blocks, level)):
            ours = f"down.{level}.stages.{stage}"
            places[f"{ours}.block"] = f"input_blocks.{number}.0"
            places[f"{ours}.attention"] = f"input_blocks.{number}.1"
            number += 1
        places[f"down.{level}.resample.conv"] = f"input_blocks.{number}.0.op"
        number += 1
    return places


def _up(config: UNetConfig) -> dict[str, str]:
    places, number = {}, 0
    for way, level in enumerate(reversed(range(config.levels))):
        for stage in range(at_level(config.blocks, level) + 1):
            ours = f"up.{way}.stages.{stage}"
            places[f"{ours}.block"] = f"output_blocks.{number}.0"
            places[f"{ours}.attention"] = f"output_blocks.{number}.1"
            number += 1
        member = 2 if config.attends(level) else 1
        places[f"up.{way}.resample.conv"] = f"output_blocks.{number - 1}.{member}.conv"
    return places
