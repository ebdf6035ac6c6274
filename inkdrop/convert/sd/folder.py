"""Folders of diffusers: model_index.json names the parts, and each part is a folder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from inkdrop.config import nearest, short
from inkdrop.convert.files.folders import open_part, variants
from inkdrop.convert.files.keys import Naming, renamed
from inkdrop.convert.files.layout import CONFIG, INDEX
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.settings import class_of, read_settings
from inkdrop.convert.sd import pipelines
from inkdrop.convert.sd.autoencoder_keys import FORMER, diffusers_naming
from inkdrop.convert.sd.autoencoder_settings import AUTOENCODERS, read_autoencoder
from inkdrop.convert.sd.foreign import AutoencoderPart, Foreign, TextPart, UNetPart
from inkdrop.convert.sd.schedule import Schedule, read_schedule
from inkdrop.convert.sd.schedule_settings import SCHEDULERS
from inkdrop.convert.sd.taesd_keys import diffusers_naming as taesd_naming
from inkdrop.convert.sd.unet_keys import diffusers_naming as unet_naming
from inkdrop.convert.sd.unet_settings import read_unet
from inkdrop.networks.taesd import TAESDConfig

# The classes that model_index.json may give for each part. None is ever imported; a name is in this
# table or an error.
_TOKENIZERS = ("CLIPTokenizer", "CLIPTokenizerFast")
_ENCODERS = ("CLIPTextModel", "CLIPTextModelWithProjection")
PARTS: Mapping[str, tuple[str, ...]] = {
    "unet": ("UNet2DConditionModel",),
    "vae": AUTOENCODERS,
    "scheduler": tuple(SCHEDULERS),
    "text_encoder": _ENCODERS,
    "text_encoder_2": _ENCODERS,
    "tokenizer": _TOKENIZERS,
    "tokenizer_2": _TOKENIZERS,
    "safety_checker": ("StableDiffusionSafetyChecker",),
    "feature_extractor": (
        *("CLIPFeatureExtractor", "CLIPImageProcessor", "CLIPImageProcessorFast"),
        *("DPTFeatureExtractor", "DPTImageProcessor", "DPTImageProcessorFast"),
    ),
    "depth_estimator": ("DPTForDepthEstimation",),
    "image_encoder": ("CLIPVisionModelWithProjection",),
    "controlnet": ("ControlNetModel", "MultiControlNetModel"),
}
NETWORKS = (*PARTS["unet"], *PARTS["vae"])  # whose folders are read by themselves
LIBRARIES = ("diffusers", "transformers", "stable_diffusion")
UNUSED = {
    "safety_checker": "checks finished pictures and is not part of the model",
    "feature_extractor": "prepares pictures for such networks",
    "depth_estimator": "estimates the depth that the model is given",
    "image_encoder": "reads pictures for adapters",
    "controlnet": "guides the model where --control names it",
}
TEXT = ("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")
# Flags of pipelines, beside the parts.
FLAGS = (
    "requires_safety_checker",
    "requires_aesthetics_score",
    "force_zeros_for_empty_prompt",
    "add_watermarker",
    "is_cosxl_edit",
)
NOT_FOLLOWED = ("is_cosxl_edit",)  # it scales the picture to be edited


def read_folder(folder: Path, options: ReadOptions) -> Foreign:
    """The parts of a folder with a whole model."""
    file = folder / INDEX
    index = read_settings(file)
    class_of(index, pipelines.NAMES, str(file))
    parts = _parts(index, str(file))
    notes, options_of = list[str](), _options_of(folder, parts, options)
    return Foreign(
        folder,
        "folder",
        _read_unet(folder / "unet", options_of["unet"], notes) if "unet" in parts else None,
        _read_vae(folder / "vae", options_of["vae"], notes) if "vae" in parts else None,
        _schedule(folder / "scheduler", options) if "scheduler" in parts else None,
        text={n: _text(folder / n, parts[n], options_of[n], notes) for n in TEXT if n in parts},
        unused={name: why for name, why in UNUSED.items() if name in parts},
        notes=tuple(notes),
    )


def read_part(folder: Path, options: ReadOptions) -> Foreign:
    """The folder of a single network: a U-Net or an autoencoder."""
    file = folder / CONFIG
    name = class_of(read_settings(file), NETWORKS, str(file))
    notes = list[str]()
    if name in AUTOENCODERS:
        autoencoder = _read_vae(folder, options, notes)
        return Foreign(folder, "part", autoencoder=autoencoder, notes=tuple(notes))
    unet = _read_unet(folder, options, notes)
    return Foreign(folder, "part", unet, notes=tuple(notes))


def _parts(index: Mapping[str, Any], where: str) -> dict[str, str]:
    """The parts of a model and their classes; ValueError for one that is not in the table."""
    found = {}
    for name, value in index.items():
        if name.startswith("_") or value is None or value == [None, None]:
            continue
        if name in FLAGS:
            _check_flag(name, value, where)
            continue
        if name not in PARTS:
            raise ValueError(
                f"{where} has a part {short(name)}, which is not read here.{nearest(name, PARTS)}"
            )
        if not isinstance(value, list) or len(value) != 2 or value[0] not in LIBRARIES:
            raise ValueError(
                f"{where} says that {name} is {short(value)}; only parts of diffusers and"
                " transformers are read here"
            )
        class_of({"_class_name": value[1]}, PARTS[name], f"{where}, {name}")
        found[name] = value[1]
    return found


def _options_of(folder: Path, parts: Iterable[str], options: ReadOptions) -> dict[str, ReadOptions]:
    """The options of each part: a variant that only some have is read of those.

    ValueError for a variant that none has.
    """
    wanted = options.variant
    there = {name: variants(folder / name) for name in parts}
    if wanted is not None and not any(wanted in found for found in there.values()):
        known = sorted({name for found in there.values() for name in found if name})
        raise ValueError(
            f"{folder} has no variant {short(wanted)} of its weights; it has"
            f" {', '.join(known) or 'the plain ones alone'}"
        )
    plain = replace(options, variant=None)
    return {name: options if wanted in found else plain for name, found in there.items()}


def _check_flag(name: str, value: object, where: str) -> None:
    """ValueError for a flag that is neither true nor false, or that is not followed."""
    if not isinstance(value, bool) or (value and name in NOT_FOLLOWED):
        needed = "false" if name in NOT_FOLLOWED else "true or false"
        raise ValueError(f"{where} has {name} {short(value)}; it must be {needed} here")


def _read_unet(folder: Path, options: ReadOptions, notes: list[str]) -> UNetPart:
    file = folder / CONFIG
    settings = read_settings(file)
    class_of(settings, PARTS["unet"], str(file))
    config, found = read_unet(settings, str(file))
    weights, variant = open_part(folder, options)
    _note(notes, folder, variant)
    size = found.sample_size
    sizes = (size, size) if isinstance(size, int) else size
    return UNetPart(config, unet_naming(config), weights, sizes)


def _read_vae(folder: Path, options: ReadOptions, notes: list[str]) -> AutoencoderPart:
    file = folder / CONFIG
    config, scaling = read_autoencoder(read_settings(file), str(file))
    weights, variant = open_part(folder, options)
    _note(notes, folder, variant)
    naming: Naming
    if isinstance(config, TAESDConfig):
        naming = taesd_naming(config)
    else:
        naming = diffusers_naming(config)
        weights = {renamed(name, FORMER): value for name, value in weights.items()}
    return AutoencoderPart(config, naming, weights, scaling)


def _schedule(folder: Path, options: ReadOptions) -> Schedule:
    file = folder / "scheduler_config.json"
    return read_schedule(
        read_settings(file),
        str(file),
        prediction=options.prediction,
        zero_terminal_snr=options.zero_terminal_snr,
    )


def _text(folder: Path, kind: str, options: ReadOptions, notes: list[str]) -> TextPart:
    if folder.name.startswith("tokenizer"):
        if not folder.is_dir():
            raise ValueError(f"the folder {folder} is missing; download the model again")
        return TextPart(folder.name, kind, folder, {}, {})
    settings = read_settings(folder / CONFIG)
    weights, variant = open_part(folder, options)
    _note(notes, folder, variant)
    return TextPart(folder.name, kind, folder, settings, weights)


def _note(notes: list[str], folder: Path, variant: str) -> None:
    if variant:
        notes.append(f"{folder.name}: the variant {variant} of its weights")
