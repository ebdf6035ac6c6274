"""Stable Diffusion's U-Net models as one family: SD 1, SD 2, SDXL and its refiner."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.convert.family import Coders, Controls, Family, ForeignLayout, Headers
from inkdrop.convert.files.layout import Kind
from inkdrop.convert.files.parts import Part, part
from inkdrop.convert.files.report import Report
from inkdrop.convert.sd import control
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.control_settings import CLASS
from inkdrop.convert.sd.export import export_single, is_exported, write_codec, write_folder
from inkdrop.convert.sd.folder import NETWORKS
from inkdrop.convert.sd.foreign import Foreign
from inkdrop.convert.sd.model import to_codec, to_model, usual_sizes
from inkdrop.convert.sd.pipelines import NAMES
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.single import MARKS
from inkdrop.convert.sd.text import to_text
from inkdrop.convert.sd.text_export import single_text, write_text_folders
from inkdrop.convert.sd.versions import SD1, SDXL
from inkdrop.files import commit_folder
from inkdrop.model import Model


def headers(foreign: Foreign) -> Headers:
    """The settings of the networks, the usual size of a picture, and the parts."""
    network = None if foreign.unet is None else foreign.unet.config
    autoencoder = None if foreign.autoencoder is None else foreign.autoencoder.config
    return Headers(network, autoencoder, usual_sizes(foreign), True, _parts(foreign))


def build(foreign: Foreign, dtype: torch.dtype | None, text_needed: bool) -> tuple[Model, Report]:
    """The model with its text; without text encoders only where none is needed."""
    model, report = to_model(foreign, dtype=dtype)
    if not foreign.text and not text_needed:
        return model, dataclasses.replace(report, notes=(*report.notes, "there is no text encoder"))
    text, parts = to_text(foreign, dtype=dtype)
    model = dataclasses.replace(model, text=text).sized(*model.spec.shape[1:])
    return model, dataclasses.replace(report, parts=(*report.parts, *parts), text=())


def codec(foreign: Foreign, like: LatentConfig, dtype: torch.dtype | None) -> Latent:
    """The autoencoder, whose code is scaled as in `like` where it has no settings of its own."""
    scaling = Scaling(like.shift, like.scale, like.upcast)
    return to_codec(foreign, scaling=scaling, dtype=dtype)[0]


def lent(foreign: Foreign, other: Foreign) -> Foreign:
    """A checkpoint without an autoencoder, with that of another."""
    return dataclasses.replace(foreign, autoencoder=other.autoencoder)


def alone(foreign: Foreign) -> str:
    """Which network a checkpoint consists of, if it is not a model; "" for a model."""
    if foreign.layout == "folder" or (foreign.unet is not None and foreign.autoencoder is not None):
        return ""
    if foreign.unet is not None:
        return "a U-Net with text encoders" if foreign.text else "a U-Net"
    return "text encoders" if foreign.autoencoder is None else "an autoencoder"


def export_codec(
    foreign: Foreign, out: Path, layout: ForeignLayout, dtype: torch.dtype | None
) -> Report:
    """An autoencoder by itself, as a diffusers folder or a single file."""
    part, notes = foreign.autoencoder, foreign.notes
    assert part is not None, "only an autoencoder is exported so"
    channels = part.config.latent_channels
    usual = Scaling((0.0,) * channels, (SD1.scale,) * channels, upcast=True)
    found, report = to_codec(foreign, scaling=usual, dtype=dtype)
    if part.scaling is None and layout == "folder":
        said = f"its file does not give the scale of its code; {SD1.scale} was written, as in SD 1"
        notes = (*notes, f"{said} and 2; SDXL's is {SDXL.scale}")
    write_codec(found, out, layout)
    return Report((report,), foreign.unused, notes=notes)


def export(model: Model, out: Path, layout: ForeignLayout) -> None:
    """The model with its text, as a diffusers folder or a single file."""
    if layout == "single":
        export_single(model, out, text=single_text(model))
        return
    with commit_folder(out) as beside:
        write_folder(model, beside, write_text_folders(model, beside))


def _parts(foreign: Foreign) -> tuple[Part, ...]:
    named = (("unet", foreign.unet), ("autoencoder", foreign.autoencoder))
    texts = [text for text in foreign.text.values() if text.weights]
    return (
        *(part(name, found.weights) for name, found in named if found is not None),
        *(part(text.name, text.weights) for text in texts),
    )


STABLE_DIFFUSION = Family(
    kind=Kind("a model or a part of one", weights=MARKS),
    pipelines=NAMES,
    networks=NETWORKS,
    read=read,
    headers=headers,
    build=build,
    exports=is_exported,
    takes="a UNet on the code of an autoencoder",
    export=export,
    part=Kind(
        "one part of a diffusers folder; give the folder, whose config.json describes its shape",
        weights=(r"(down_blocks|conv_in|text_model|encoder)\.",),
    ),
    alone=alone,
    coders=Coders(build=codec, export=export_codec, lend=lent),
    controls=Controls(
        kind=control.KIND,
        classes=(CLASS,),
        read=control.read_control,
        build=control.build_control,
        export=control.export_control,
    ),
)
