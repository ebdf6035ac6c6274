"""Single files in the layout of latent diffusion (LDM): all parts in one, told apart by names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.layout import ADAPTERS, layout_of_names
from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import Stored, Weights, under
from inkdrop.convert.sd.autoencoder_keys import ldm_naming
from inkdrop.convert.sd.families import family_of
from inkdrop.convert.sd.foreign import (
    SAID,
    AutoencoderPart,
    Foreign,
    ReadOptions,
    TextPart,
    UNetPart,
)
from inkdrop.convert.sd.leftovers import summed, unused
from inkdrop.convert.sd.marks import read_marks
from inkdrop.convert.sd.shapes import autoencoder_shape, unet_shape
from inkdrop.convert.sd.taesd_file import is_taesd, read_taesd
from inkdrop.convert.sd.unet_keys import ldm_naming as unet_naming
from inkdrop.weights import listed

UNET = "model.diffusion_model."
AUTOENCODER = "first_stage_model."
AVERAGED = "model_ema."
# The places of text encoders, the longest first.
TEXT = (
    "conditioner.embedders.0.transformer.",
    "conditioner.embedders.0.model.",
    "conditioner.embedders.1.model.",
    "cond_stage_model.transformer.",
    "cond_stage_model.model.",
)


def read_single(path: Path, options: ReadOptions) -> Foreign:
    """The parts of a single file; ValueError for one of another kind or with strange weights."""
    file = open_file(path, options)
    layout = layout_of_names(file.weights, str(path))
    if layout in ADAPTERS:
        raise ValueError(f"{path} is {ADAPTERS[layout]}")
    options.check(path, "a single file", {*SAID, "averaged", "ignore"})
    if is_taesd(file.weights):
        return read_taesd(path, file.weights, options)
    left = unused(file.weights, options.ignore, str(path))
    weights = {name: value for name, value in file.weights.items() if name not in left}
    inner = under(weights, UNET)
    denoiser = _denoiser(path, file, inner, options) if inner else None
    coder = _coder(path, weights, whole=denoiser is not None)
    text = _text(weights)
    _check_strays(path, weights, text)
    if options.averaged:
        left = {name: why for name, why in left.items() if not name.startswith(f"{AVERAGED}diff")}
        left |= {name: "the averaged ones were read" for name in weights if name.startswith(UNET)}
    notes = list[str]()
    family = schedule = None
    if denoiser is not None:
        family = family_of(denoiser.config)
        assert family is not None
        schedule = read_marks(file, family, denoiser.config, options, notes)
    return Foreign(
        path, "single", family, denoiser, coder, schedule, text, summed(left), tuple(notes)
    )


def _denoiser(
    path: Path, file: SafeFile, weights: dict[str, Stored], options: ReadOptions
) -> UNetPart:
    config = unet_shape(weights, str(path))
    if options.averaged:
        weights = {name: _averaged(path, file.weights, name) for name in weights}
    return UNetPart(config, unet_naming(config), weights)


def _averaged(path: Path, weights: Weights, name: str) -> Stored:
    """The averaged weight for one of the U-Net's, whose name lost its dots in training."""
    flat = AVERAGED + f"diffusion_model.{name}".replace(".", "")
    if flat not in weights:
        raise ValueError(f"{path} has no averaged weights ({flat} is missing); read the plain ones")
    return weights[flat]


def _coder(path: Path, weights: Weights, *, whole: bool) -> AutoencoderPart | None:
    """The autoencoder; in a file of its own its names may have no prefix."""
    inner = under(weights, AUTOENCODER)
    if not inner and not whole:
        inner = dict(weights)
    if not inner:
        return None
    config = autoencoder_shape(inner, str(path))
    return AutoencoderPart(config, ldm_naming(config), inner)


def _text(weights: Weights) -> dict[str, TextPart]:
    found = {}
    for prefix in TEXT:
        inner = under(weights, prefix)
        if inner:
            name = prefix.removesuffix(".")
            found[name] = TextPart(name, "", None, {}, inner)
    return found


def _check_strays(path: Path, weights: Weights, text: Mapping[str, TextPart]) -> None:
    """ValueError for weights that belong to no part."""
    if not any(name.startswith((UNET, AUTOENCODER)) for name in weights):
        return  # an autoencoder without a prefix, which is checked as one
    known = (UNET, AUTOENCODER, *(f"{name}." for name in text))
    strays = {name: value.shape for name, value in weights.items() if not name.startswith(known)}
    if strays:
        raise ValueError(
            f"{path} holds {len(strays)} weights of no part of a model: {listed(strays)}; if they"
            " are of no interest, `inkdrop convert --ignore BEGINNING` leaves them out"
        )
