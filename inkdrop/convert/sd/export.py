"""A Model written as a diffusers folder, or as a single file in LDM's layout."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkdrop.codecs.latent import Latent
from inkdrop.convert.family import ForeignLayout
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.layout import INDEX
from inkdrop.convert.files.settings import write_settings
from inkdrop.convert.files.stored import held_all
from inkdrop.convert.files.write import under_names, write_part
from inkdrop.convert.sd import autoencoder_keys, taesd_keys, unet_keys
from inkdrop.convert.sd.autoencoder_settings import write_autoencoder
from inkdrop.convert.sd.model import ORIGINAL
from inkdrop.convert.sd.pipelines import pipeline
from inkdrop.convert.sd.schedule import write_schedule
from inkdrop.convert.sd.shapes import autoencoder_shape, unet_shape
from inkdrop.convert.sd.single import AUTOENCODER, UNET
from inkdrop.convert.sd.unet_settings import write_unet
from inkdrop.convert.sd.versions import version_of
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import Eps, V
from inkdrop.files import commit_folder, replacing
from inkdrop.model import Model
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.networks.unet import UNet


def export_folder(model: Model, out: str | Path) -> None:
    """A diffusers folder with U-Net, autoencoder and scheduler, committed by a rename."""
    with commit_folder(Path(out)) as beside:
        write_folder(model, beside)


def write_folder(model: Model, folder: Path, text: Mapping[str, Any] | None = None) -> None:
    """The files of a diffusers folder, into a folder that exists and that the caller commits.

    text: the entries of model_index.json for text parts, which the caller writes
    """
    unet, codec = _parts(model)
    noted = model.spec.notes.get(ORIGINAL, "")
    student = int(noted) if noted.isdigit() else None
    guided = unet.config.guidance_dim is not None and student is not None
    whole = pipeline(version_of(unet.config), unet.config.concat_channels, guided)
    autoencoder = write_autoencoder(codec.config, model.spec.shape[1])
    scheduler = write_schedule(model.process, model.parameterization, student)
    index = {
        **whole,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", autoencoder["_class_name"]],
        **(text or {}),
    }
    write_settings(folder / INDEX, index)
    (folder / "scheduler").mkdir()
    write_settings(folder / "scheduler" / "scheduler_config.json", scheduler)
    naming = unet_keys.diffusers_naming(unet.config)
    for name in ("unet", "vae"):
        (folder / name).mkdir()
    write_part(folder / "unet", write_unet(unet.config, model.shape[1:]), unet, naming)
    write_part(folder / "vae", autoencoder, codec.autoencoder, _diffusers(codec))


def export_single(
    model: Model, out: str | Path, *, text: Mapping[str, Tensor] | None = None
) -> None:
    """A single file in LDM's layout with U-Net and autoencoder, written beside and renamed.

    text: the weights of text encoders, under their full names in the file
    """
    from safetensors.torch import save_file

    weights = {**single_weights(model), **(text or {})}
    prediction = "v" if model.parameterization == V() else "epsilon"
    with replacing(Path(out)) as beside:
        # A single entry: several are written in an order that changes from file to file.
        save_file(weights, beside, {"modelspec.prediction_type": prediction})


def single_weights(model: Model) -> dict[str, Tensor]:
    """The weights of U-Net and autoencoder under LDM's names, with the marks of their schedule.

    ValueError for a model that would be read back as another: such a file has no settings.
    """
    unet, codec = _parts(model)
    inner = under_names(unet, unet_keys.ldm_naming(unet.config))
    coder = _coder_weights(codec)
    check_same("U-Net", unet.config, unet_shape(held_all(inner), "the file"))
    _check_usual(model, unet, codec)
    return {
        **{UNET + name: value for name, value in inner.items()},
        **{AUTOENCODER + name: value for name, value in coder.items()},
        **_marks(model),
    }


def _coder_weights(codec: Latent) -> dict[str, Tensor]:
    """An autoencoder's weights under LDM's names; ValueError for one that these do not describe."""
    config = codec.config.autoencoder
    if not isinstance(config, AutoencoderConfig):
        raise ValueError("a single file has no place for a tiny autoencoder; export a folder")
    coder = under_names(codec.autoencoder, autoencoder_keys.ldm_naming(config))
    for name, value in coder.items():
        if re.search(autoencoder_keys.CONVOLUTIONS_LDM, name):
            coder[name] = value[:, :, None, None]
    check_same("autoencoder", config, autoencoder_shape(held_all(coder), "the file"))
    return coder


USUAL = 512  # pixels that an autoencoder by itself is said to be trained on; diffusers needs some


def write_codec(codec: Latent, out: Path, layout: ForeignLayout) -> None:
    """An autoencoder by itself, as a diffusers folder or a single file, written and renamed."""
    from safetensors.torch import save_file

    if layout == "single":
        weights = _coder_weights(codec)
        with replacing(out) as beside:
            save_file(weights, beside)
        return
    settings = write_autoencoder(codec.config, USUAL)
    with commit_folder(out) as folder:
        write_part(folder, settings, codec.autoencoder, _diffusers(codec))


def is_exported(model: Model) -> bool:
    """True for a U-Net on the code of an autoencoder, which these layouts are for."""
    return isinstance(model.network, UNet) and isinstance(model.codec, Latent)


def _parts(model: Model) -> tuple[UNet, Latent]:
    if not isinstance(model.network, UNet) or not isinstance(model.codec, Latent):
        raise ValueError(
            f"a {type(model.network).__name__} on {type(model.codec).__name__} has no place in"
            " these layouts, which are for a UNet on the code of an autoencoder"
        )
    return model.network, model.codec


def check_same(part: str, ours: Any, read: Any) -> None:
    """ValueError for the first field of a configuration that a single file would change."""
    for field in dataclasses.fields(ours):
        value, other = getattr(ours, field.name), getattr(read, field.name)
        if dataclasses.is_dataclass(value):
            check_same(part, value, other)
        elif value != other:
            raise ValueError(
                f"{field.name} of the {part} is {value!r}, but a single file of its family implies"
                f" {other!r}; export a folder"
            )


def _check_usual(model: Model, unet: UNet, codec: Latent) -> None:
    """ValueError for a schedule or a scaling that is not usual for the version."""
    version = version_of(unet.config)
    assert version is not None  # its shape was read as that of a version
    process = model.process
    usual = [Discrete("scaled_linear", zero_terminal_snr=zero) for zero in (False, True)]
    if process not in usual or model.parameterization not in (Eps(), V()):
        raise ValueError(
            f"{process} with {model.parameterization} is not what a single file implies; export"
            " a folder"
        )
    if {*codec.config.shift} != {0.0} or {*codec.config.scale} != {version.scale}:
        raise ValueError(
            f"the code is scaled by {codec.config.scale[0]:g}, but a single file of {version.name}"
            f" implies {version.scale}; export a folder"
        )


def _marks(model: Model) -> dict[str, Tensor]:
    """Empty weights whose names tell what the network predicts and how its schedule ends."""
    marks = {}
    if model.parameterization == V():
        marks["v_pred"] = torch.zeros(0)
    if isinstance(model.process, Discrete) and model.process.zero_terminal_snr:
        marks["ztsnr"] = torch.zeros(0)
    return marks


def _diffusers(codec: Latent) -> Naming:
    config = codec.config.autoencoder
    if isinstance(config, TAESDConfig):
        return taesd_keys.diffusers_naming(config)
    return autoencoder_keys.diffusers_naming(config)
