"""A network's configuration from the names and shapes of its weights in a single file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from functools import cached_property
from typing import NamedTuple

from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.multiples import multiples
from inkdrop.convert.sd.versions import HEAD_CHANNELS, recognised
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.control import ControlNetConfig
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.networks.unet_config import UNetConfig

_MOST_PARTS = 16  # of a weight's name, separated by dots


class _Shapes:
    """The sizes of weights by name; ValueError for a missing one."""

    def __init__(self, weights: Weights, where: str) -> None:
        self.weights, self.where = weights, where

    def __call__(self, name: str, axis: int) -> int:
        """The size of a weight along an axis."""
        if name not in self.weights or len(self.weights[name].shape) <= axis:
            raise ValueError(
                f"{self.where} has no weight {name!r} of {axis + 1} or more axes; it is incomplete,"
                " or of a family that is not read here"
            )
        return self.weights[name].shape[axis]

    def __contains__(self, name: str) -> bool:
        return name in self.weights

    def has_axes(self, name: str, axes: int) -> bool:
        """True if there is a weight with this many axes."""
        return name in self.weights and len(self.weights[name].shape) == axes

    def count(self, place: str) -> int:
        """How many different numbers follow a place in the names of weights."""
        return len(self._numbers.get(place, ()))

    @cached_property
    def _numbers(self) -> Mapping[str, set[str]]:
        """The numbers after each place, found in one pass: a hostile file has many of both."""
        found = defaultdict[str, set[str]](set)
        for name in self.weights:
            parts = name.split(".", _MOST_PARTS)
            for last, part in enumerate(parts[:-1]):
                if part.isdecimal():
                    found[".".join(parts[:last])].add(part)
        return found


class _Level(NamedTuple):
    """A level on the way down; depth 0: it does not attend."""

    channels: int
    blocks: int
    depth: int


class _Names(NamedTuple):
    """A layout's names of the layers that reveal most of a U-Net's configuration."""

    input: str
    middle: str
    vector: str


LDM = _Names("input_blocks.0.0.weight", "middle_block.1", "label_emb.0.0.weight")
DIFFUSERS = _Names("conv_in.weight", "mid_block.attentions.0", "add_embedding.linear_1.weight")


def unet_shape(weights: Weights, where: str) -> UNetConfig:
    """The configuration of a U-Net with LDM's names, which begin with input_blocks and the like.

    The number of heads follows from the version.
    """
    shapes = _Shapes(weights, where)
    return _unet_shape(shapes, LDM, _levels(shapes), shapes("out.2.weight", 0))


def control_shape(weights: Weights, where: str) -> ControlNetConfig:
    """The configuration of a control network with the names of LDM or of diffusers."""
    shapes = _Shapes(weights, where)
    ldm = "input_hint_block.0.weight" in shapes
    names, levels = (LDM, _levels(shapes)) if ldm else (DIFFUSERS, _levels_of_diffusers(shapes))
    hint = "input_hint_block.{}.weight" if ldm else "controlnet_cond_embedding.blocks.{}.weight"
    # The first of each pair of layers keeps the size; the last layer has the U-Net's width.
    first = hint.format(0) if ldm else "controlnet_cond_embedding.conv_in.weight"
    pairs = [hint.format(n) for n in (range(4, 64, 4) if ldm else range(1, 64, 2))]
    widths = (shapes(first, 0), *(shapes(name, 0) for name in pairs if name in shapes))
    unet = _unet_shape(shapes, names, levels, shapes(names.input, 1))
    return ControlNetConfig(unet, shapes(first, 1), hint_widths=widths)


def _unet_shape(shapes: _Shapes, names: _Names, levels: list[_Level], out: int) -> UNetConfig:
    where, middle = shapes.where, names.middle
    linear = not shapes.has_axes(f"{middle}.proj_in.weight", 4)
    vector = shapes(names.vector, 1) if names.vector in shapes else None
    version = recognised(len(levels), levels[0].depth > 0, linear, vector is not None)
    if version is None:
        raise ValueError(
            f"{where} holds a U-Net of {len(levels)} sizes that is not SD 1, SD 2, SDXL or its"
            " refiner; get it as a diffusers folder, which describes its shape"
        )
    channels = [level.channels for level in levels]
    width, multipliers = multiples(channels, where)
    depths = [*(level.depth or 1 for level in levels[:-1]), _depth(shapes, middle) or 1]
    used = [depth for depth, level in zip(depths, levels, strict=True) if level.depth]
    blocks = {level.blocks for level in levels}
    return UNetConfig(
        in_channels=out,
        concat_channels=shapes(names.input, 1) - out,
        width=width,
        multipliers=multipliers,
        blocks=blocks.pop() if len(blocks) == 1 else tuple(level.blocks for level in levels),
        attention=tuple(number for number, level in enumerate(levels) if level.depth),
        heads=version.heads or tuple(c // HEAD_CHANNELS for c in channels),
        cross_attention_dim=shapes(f"{middle}.transformer_blocks.0.attn2.to_k.weight", 1),
        transformer_depth=depths[-1] if {*used, depths[-1]} == {depths[-1]} else tuple(depths),
        projection="linear" if linear else "conv",
        vector_dim=vector,
        modulation="add",
        odd_sizes="resize",
    )


def autoencoder_shape(weights: Weights, where: str) -> AutoencoderConfig:
    """The configuration of an autoencoder with LDM's names, such as encoder.down.0."""
    shapes = _Shapes(weights, where)
    levels = shapes.count("encoder.down")
    channels = [shapes(f"encoder.down.{n}.block.0.conv2.weight", 0) for n in range(levels)]
    width, multipliers = multiples(channels, where)
    return AutoencoderConfig(
        channels=shapes("encoder.conv_in.weight", 1),
        latent_channels=shapes("decoder.conv_in.weight", 1),
        width=width,
        multipliers=multipliers,
        blocks=shapes.count("encoder.down.0.block"),
        middle_attention="encoder.mid.attn_1.q.weight" in shapes,
        code_conv="quant_conv.weight" in shapes,
    )


def taesd_shape(weights: Weights, where: str) -> TAESDConfig:
    """The configuration of a TAESD with numbered layers, behind `encoder.` and `decoder.`."""
    shapes = _Shapes(weights, where)
    return TAESDConfig(
        channels=shapes("encoder.0.weight", 1),
        latent_channels=shapes("decoder.1.weight", 1),
        width=shapes("encoder.0.weight", 0),
        encoder_blocks=_runs(weights, "encoder"),
        decoder_blocks=_runs(weights, "decoder"),
    )


def _levels(shapes: _Shapes) -> list[_Level]:
    """The levels on the way down; a step to the next size ends each."""
    levels, places = list[_Level](), list[str]()
    for number in range(1, shapes.count("input_blocks")):
        if f"input_blocks.{number}.0.op.weight" in shapes:
            levels.append(_level(shapes, places))
            places = []
        else:
            places.append(f"input_blocks.{number}")
    return [*levels, _level(shapes, places)]


def _level(shapes: _Shapes, places: list[str]) -> _Level:
    last = places[-1] if places else "input_blocks.1"
    channels = shapes(f"{last}.0.out_layers.3.weight", 0)
    return _Level(channels, len(places), _depth(shapes, f"{last}.1"))


def _levels_of_diffusers(shapes: _Shapes) -> list[_Level]:
    """The same with diffusers' names, which number levels and their blocks separately."""
    count = max(1, shapes.count("down_blocks"))
    places = [f"down_blocks.{n}" for n in range(count)]
    return [
        _Level(
            shapes(f"{place}.resnets.0.conv2.weight", 0),
            shapes.count(f"{place}.resnets"),
            _depth(shapes, f"{place}.attentions.0"),
        )
        for place in places
    ]


def _depth(shapes: _Shapes, place: str) -> int:
    return shapes.count(f"{place}.transformer_blocks")


def _runs(weights: Weights, half: str) -> tuple[int, ...]:
    """How many blocks lie between two single convolutions, in the order of their numbers."""
    kinds = {}
    for name in weights:
        if match := re.fullmatch(rf"{half}\.(\d+)\.(conv\.\d\.)?(?:weight|bias)", name):
            kinds[int(match[1])] = match[2] is not None
    runs = [0]
    for number in sorted(kinds)[1:-1]:  # the first and the last convolution belong to no level
        if kinds[number]:
            runs[-1] += 1
        else:
            runs.append(0)
    return tuple(runs)
