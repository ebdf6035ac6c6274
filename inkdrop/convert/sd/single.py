"""Single files in the layout of latent diffusion (LDM): all parts in one, told apart by prefix."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.options import SCHEDULE_OPTIONS, ReadOptions
from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import Stored, Weights, under
from inkdrop.convert.sd.autoencoder_keys import as_ldm, ldm_naming
from inkdrop.convert.sd.foreign import AutoencoderPart, Foreign, TextPart, UNetPart
from inkdrop.convert.sd.leftovers import summed, unused
from inkdrop.convert.sd.marks import read_marks
from inkdrop.convert.sd.shapes import autoencoder_shape, unet_shape
from inkdrop.convert.sd.taesd_file import is_taesd, read_taesd
from inkdrop.convert.sd.unet_keys import ldm_naming as unet_naming
from inkdrop.convert.sd.versions import VERSIONS
from inkdrop.weights import listed

UNET = "model.diffusion_model."
AUTOENCODER = "first_stage_model."
AVERAGED = "model_ema."
# The prefixes of text encoders, the first encoder before the second.
TEXT = sorted({encoder.prefix for version in VERSIONS for encoder in version.text})
# How the names of weights show that a file is of this family: whole, or an autoencoder alone.
MARKS = (
    r"(diffusion_model\.)?output_blocks\.",  # a U-Net alone
    r"model\.diffusion_model\.|first_stage_model\.|cond_stage_model\.|conditioner\.",
    r"(encoder|decoder)\.(conv_in|down|up|mid)\.",
    r"(encoder\.|decoder\.)?\d+\.(conv\.\d\.)?(weight|bias)$",
)


def read_single(path: Path, options: ReadOptions) -> Foreign:
    """The parts of a single file; ValueError for weights that belong to none."""
    file = open_file(path, options)
    options.check(path, "a single file", {*SCHEDULE_OPTIONS, "averaged", "ignore"})
    file = SafeFile(_prefixed(file.weights), file.metadata)
    if is_taesd(file.weights):
        return read_taesd(path, file.weights, options)
    left = unused(file.weights, options.ignore, str(path))
    weights = {name: value for name, value in file.weights.items() if name not in left}
    unet = _unet(path, file.weights, under(weights, UNET), options)
    text = _text(weights)
    _check_strays(path, weights, text)
    if options.averaged:
        left = {name: why for name, why in left.items() if not name.startswith(f"{AVERAGED}diff")}
        left |= {n: "the averaged weights were read" for n in weights if n.startswith(UNET)}
    schedule, notes = (None, ()) if unet is None else read_marks(file, unet.config, options)
    return Foreign(
        path,
        "single",
        unet,
        _autoencoder(path, weights, whole=unet is not None or bool(text)),
        schedule,
        text,
        summed(left),
        notes,
    )


def _prefixed(weights: Weights) -> dict[str, Stored]:
    """The weights of a U-Net by itself under their names in a whole model's file."""
    for prefix, missing in (("output_blocks.", UNET), ("diffusion_model.output_blocks.", "model.")):
        if any(name.startswith(prefix) for name in weights):
            return {f"{missing}{name}": value for name, value in weights.items()}
    return dict(weights)


def _unet(
    path: Path, everything: Weights, inner: dict[str, Stored], options: ReadOptions
) -> UNetPart | None:
    """The U-Net with its plain weights or the averaged ones; None if the file has none."""
    if not inner:
        return None
    config = unet_shape(inner, str(path))
    if options.averaged:
        inner = {name: _averaged(path, everything, name) for name in inner}
    return UNetPart(config, unet_naming(config), inner)


def _averaged(path: Path, weights: Weights, name: str) -> Stored:
    """The averaged weight for one of the U-Net's, whose name has no dots there."""
    flat = AVERAGED + f"diffusion_model.{name}".replace(".", "")
    if flat not in weights:
        raise ValueError(f"{path} has no averaged weights ({flat} is missing); read the plain ones")
    return weights[flat]


def _autoencoder(path: Path, weights: Weights, *, whole: bool) -> AutoencoderPart | None:
    """The autoencoder; alone in a file, its names may have no prefix."""
    inner = under(weights, AUTOENCODER)
    if not inner and not whole:
        inner = dict(weights)
    if not inner:
        return None
    inner = as_ldm(inner)
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
    if not text and not any(name.startswith((UNET, AUTOENCODER)) for name in weights):
        return  # an autoencoder without a prefix, which is checked as one
    known = (UNET, AUTOENCODER, *(f"{name}." for name in text))
    strays = {name: value.shape for name, value in weights.items() if not name.startswith(known)}
    if strays:
        raise ValueError(
            f"{path} holds {len(strays)} weights that belong to no part of a model:"
            f" {listed(strays)}; if they are of no interest, leave them out with `inkdrop convert"
            " --ignore PREFIX`"
        )
