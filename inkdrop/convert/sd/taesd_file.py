"""A tiny autoencoder (TAESD) in its original files, whose layers are numbered."""

from __future__ import annotations

import re
from pathlib import Path

from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.foreign import AutoencoderPart, Foreign
from inkdrop.convert.sd.shapes import taesd_shape
from inkdrop.convert.sd.taesd_keys import original_naming


def is_taesd(weights: Weights) -> bool:
    """True if layers are named by numbers alone."""
    return any(re.match(r"((en|de)coder\.)?\d+\.", name) for name in weights)


def read_taesd(path: Path, weights: Weights, options: ReadOptions) -> Foreign:
    """A TAESD with numbered layers, in one file or in two beside each other."""
    if not any(name.startswith(("encoder.", "decoder.")) for name in weights):
        half, other = ("encoder", "decoder") if "0.weight" in weights else ("decoder", "encoder")
        beside = path.with_name(path.name.replace(half, other))
        if beside == path or not beside.is_file():
            raise ValueError(
                f"{path} is the {half} of a TAESD alone; put its {other} beside it, under the same"
                f" name with {other} in place of {half}"
            )
        second = open_file(beside, options).weights
        weights = {f"{half}.{name}": value for name, value in weights.items()}
        weights |= {f"{other}.{name}": value for name, value in second.items()}
    config = taesd_shape(weights, str(path))
    channels = config.latent_channels
    scaling = Scaling((0.0,) * channels, (1.0,) * channels)
    part = AutoencoderPart(config, original_naming(config), weights, scaling)
    return Foreign(path, "single", autoencoder=part)
