"""A Model of ours in the layouts of others: a diffusers folder, or a single file of LDM."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.codecs.latent import Latent
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.settings import write_settings
from inkdrop.convert.files.stored import Stored, held
from inkdrop.convert.sd import autoencoder_keys, taesd_keys, unet_keys
from inkdrop.convert.sd.autoencoder_settings import write_autoencoder
from inkdrop.convert.sd.families import family_of
from inkdrop.convert.sd.model import ORIGINAL
from inkdrop.convert.sd.pipelines import pipeline
from inkdrop.convert.sd.schedule import write_schedule
from inkdrop.convert.sd.shapes import autoencoder_shape, unet_shape
from inkdrop.convert.sd.single import AUTOENCODER, UNET
from inkdrop.convert.sd.unet_settings import write_unet
from inkdrop.diffusion.parameterization import Eps, V
from inkdrop.diffusion.process import Discrete
from inkdrop.files import commit_folder, replacing
from inkdrop.model import Model
from inkdrop.networks.autoencoder import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.networks.unet import UNet

WEIGHTS = "diffusion_pytorch_model.safetensors"


def export_folder(model: Model, out: str | Path) -> None:
    """A diffusers folder with U-Net, autoencoder and scheduler, committed by a rename."""
    with commit_folder(Path(out)) as beside:
        write_folder(model, beside)


def write_folder(model: Model, folder: Path, text: Mapping[str, Any] | None = None) -> None:
    """Its files, into a folder that exists and that somebody else commits.

    text: what model_index.json says of the text parts that the caller writes beside
    """
    unet, codec = _parts(model)
    said = model.spec.notes.get(ORIGINAL, "")
    student = int(said) if said.isdigit() else None
    family, told = family_of(unet.config), unet.config.guidance_dim is not None
    whole = pipeline(family, unet.config.concat_channels, told and student is not None)
    autoencoder = write_autoencoder(codec.config, model.spec.shape[1])
    scheduler = write_schedule(model.process, model.parameterization, student)
    index = {
        **whole,
        "scheduler": ["diffusers", scheduler["_class_name"]],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", autoencoder["_class_name"]],
        **(text or {}),
    }
    write_settings(folder / "model_index.json", index)
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

    text: weights of text encoders, under their whole names in the file
    """
    from safetensors.torch import save_file

    weights = {**single_weights(model), **(text or {})}
    said = "v" if model.parameterization == V() else "epsilon"
    with replacing(Path(out)) as beside:
        # One entry alone: several are written in an order that changes from file to file.
        save_file(weights, beside, {"modelspec.prediction_type": said})


def single_weights(model: Model) -> dict[str, Tensor]:
    """The weights of U-Net and autoencoder under LDM's names, with the marks of their schedule.

    ValueError for a model that would be another when it is read from such a file, which says little
    besides its weights.
    """
    unet, codec = _parts(model)
    config = codec.config.autoencoder
    if not isinstance(config, AutoencoderConfig):
        raise ValueError("a single file has no place for a tiny autoencoder; export a folder")
    inner = renamed(unet, unet_keys.ldm_naming(unet.config))
    coder = renamed(codec.autoencoder, autoencoder_keys.ldm_naming(config))
    for name, value in coder.items():
        if re.search(autoencoder_keys.CONVOLUTIONS_LDM, name):
            coder[name] = value[:, :, None, None]
    check_same("U-Net", unet.config, unet_shape(held_all(inner), "the file"))
    check_same("autoencoder", config, autoencoder_shape(held_all(coder), "the file"))
    _check_family(model, unet, codec)
    return {
        **{UNET + name: value for name, value in inner.items()},
        **{AUTOENCODER + name: value for name, value in coder.items()},
        **_marks(model),
    }


def _parts(model: Model) -> tuple[UNet, Latent]:
    if not isinstance(model.network, UNet) or not isinstance(model.codec, Latent):
        raise ValueError(
            f"a {type(model.network).__name__} on {type(model.codec).__name__} has no place in"
            " these layouts, which are for a UNet on the code of an autoencoder"
        )
    return model.network, model.codec


def check_same(part: str, ours: Any, read: Any) -> None:
    """ValueError for the first field of a shape that a single file would say otherwise."""
    for field in dataclasses.fields(ours):
        value, other = getattr(ours, field.name), getattr(read, field.name)
        if dataclasses.is_dataclass(value):
            check_same(part, value, other)
        elif value != other:
            raise ValueError(
                f"{field.name} of the {part} is {value!r}, but a single file of its family means"
                f" {other!r}; export a folder"
            )


def _check_family(model: Model, unet: UNet, codec: Latent) -> None:
    """ValueError for a schedule or a scaling that the family does not have."""
    family = family_of(unet.config)
    assert family is not None  # its shape was read as one of a family
    process = model.process
    usual = [Discrete("scaled_linear", zero_terminal_snr=zero) for zero in (False, True)]
    if process not in usual or model.parameterization not in (Eps(), V()):
        raise ValueError(
            f"{process} with {model.parameterization} is not what a single file means; export a"
            " folder"
        )
    if {*codec.config.shift} != {0.0} or {*codec.config.scale} != {family.scale}:
        raise ValueError(
            f"the code is scaled by {codec.config.scale[0]:g}, but a single file of {family.name}"
            f" means {family.scale}; export a folder"
        )


def _marks(model: Model) -> dict[str, Tensor]:
    """Empty weights whose names say what the network predicts and how its schedule ends."""
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


def renamed(network: nn.Module, naming: Naming) -> dict[str, Tensor]:
    """A network's weights under another library's names."""
    return {
        naming.theirs(name): value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
    }


def held_all(weights: Mapping[str, Tensor]) -> dict[str, Stored]:
    """Weights in memory as if they were in a file."""
    return {name: held(value) for name, value in weights.items()}


def write_part(
    folder: Path, settings: Mapping[str, Any], network: nn.Module, naming: Naming
) -> None:
    """A network's settings and weights, into a folder that exists."""
    from safetensors.torch import save_file

    write_settings(folder / "config.json", settings)
    save_file(renamed(network, naming), folder / WEIGHTS, {"format": "pt"})
