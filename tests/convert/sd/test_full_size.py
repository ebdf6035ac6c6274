"""The published shapes at full width, without memory: every name and every size finds its place."""

from __future__ import annotations

from typing import Any

import diffusers
import pytest
import torch
from checkpoints import FAMILIES, VAE, settings
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint

from inkdrop.convert.files.fill import compared
from inkdrop.convert.files.stored import Stored, held
from inkdrop.convert.sd import autoencoder_keys, unet_keys
from inkdrop.convert.sd.autoencoder_settings import read_autoencoder
from inkdrop.convert.sd.shapes import autoencoder_shape, unet_shape
from inkdrop.convert.sd.unet_settings import read_unet, write_unet
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.unet import UNet


def shapes_of(network: Any) -> dict[str, tuple[int, ...]]:
    return {name: tuple(value.shape) for name, value in network.state_dict().items()}


def named(network: Any, names: dict[str, str] | None = None) -> dict[str, Stored]:
    """The weights of a network, under other names if there is a table of them."""
    state = network.state_dict()
    return {name if names is None else names[name]: held(value) for name, value in state.items()}


def plain(theirs: Any) -> dict[str, Any]:
    """A config.json as it is after JSON has been written and read."""
    return {k: list(v) if isinstance(v, tuple) else v for k, v in theirs.config.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_unets(name: str) -> None:
    told = settings(name)
    with torch.device("meta"):
        theirs = diffusers.UNet2DConditionModel(**told)
        config, _ = read_unet({**plain(theirs), "_class_name": "UNet2DConditionModel"}, "here")
        ours = UNet(config)
    shapes = shapes_of(ours)
    table = unet_keys.diffusers_naming(config).table(shapes)
    report = compared("unet", shapes, table, named(theirs))
    assert not (report.missing or report.unused or report.misshapen)
    # The names of LDM, by diffusers' converter, which is given names for weights.
    ldm = unet_keys.ldm_naming(config).table(shapes)
    marked = {f"model.diffusion_model.{n}": n for n in ldm.values()}
    said = convert_ldm_unet_checkpoint(marked, {**theirs.config, "layers_per_block": 2})
    assert said == {table[own]: foreign for own, foreign in ldm.items()}
    # And the shape, from names and sizes alone.
    assert unet_shape(named(ours, ldm), "here") == config


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_written_is_what_was_read(name: str) -> None:
    told = {k: list(v) if isinstance(v, tuple) else v for k, v in settings(name).items()}
    config, _ = read_unet(told, "here")
    again = write_unet(config, (told["sample_size"],) * 2)
    assert read_unet(again, "here")[0] == config
    assert again["sample_size"] == told["sample_size"]
    with torch.device("meta"):
        del again["_class_name"]
        assert shapes_of(diffusers.UNet2DConditionModel(**again)) == shapes_of(
            diffusers.UNet2DConditionModel(**settings(name))
        )


def test_the_autoencoder() -> None:
    kinds = {"down_block_types": ("DownEncoderBlock2D",) * 4,
             "up_block_types": ("UpDecoderBlock2D",) * 4}  # fmt: skip
    with torch.device("meta"):
        theirs = diffusers.AutoencoderKL(**VAE, **kinds)
        config, scaling = read_autoencoder(
            {**plain(theirs), "_class_name": "AutoencoderKL"}, "here"
        )
        ours = Autoencoder(config)  # type: ignore[arg-type]
    assert scaling.scale == (0.18215,) * 4 and scaling.shift == (0.0,) * 4
    shapes = shapes_of(ours)
    table = autoencoder_keys.diffusers_naming(ours.config).table(shapes)
    report = compared("autoencoder", shapes, table, named(theirs))
    assert not (report.missing or report.unused or report.misshapen)
    ldm = autoencoder_keys.ldm_naming(ours.config).table(shapes)
    assert autoencoder_shape(named(ours, ldm), "here") == ours.config
