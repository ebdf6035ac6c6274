"""A foreign checkpoint as a Model, still without its text."""

from __future__ import annotations

import dataclasses
from functools import partial

import torch

from inkdrop.codecs.latent import Latent, LatentConfig, fresh
from inkdrop.convert.files.fill import filled
from inkdrop.convert.files.report import PartReport, Report
from inkdrop.convert.files.settings import named_errors
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.foreign import Foreign, UNetPart
from inkdrop.convert.sd.schedule import Schedule
from inkdrop.convert.sd.versions import BESIDE, title
from inkdrop.diffusion.parameterization import V
from inkdrop.model import Model, Spec, Tuned
from inkdrop.networks.unet import UNet

# How often training left the prompt out, so that guidance has a null condition.
CONDITION_DROP = 0.1
# For latent consistency models, as in their pipeline: the usual number of steps and guidance, and
# the largest number of steps for which a grid is stored.
STUDENT_STEPS, STUDENT_GUIDANCE, STUDENT_MOST = 4, 8.5, 10
ORIGINAL = "trained timesteps"  # the note that records how many, for an export


def to_model(
    foreign: Foreign, *, autoencoder: Foreign | None = None, dtype: torch.dtype | None = None
) -> tuple[Model, Report]:
    """The model of a checkpoint, without its text, and the report of every weight.

    autoencoder: another to use in place of its own, such as a tiny one
    dtype: of all weights; None: what they are stored in
    Weights that need no change stay in the mapped file.
    """
    unet, schedule = _needed(foreign)
    network, of_unet = filled(partial(UNet, unet.config), unet, "unet", str(foreign.path), dtype)
    codec, of_codec = _codec(foreign, autoencoder, dtype)
    _check_code(unet, codec)
    with named_errors(str(foreign.path)):
        spec = _spec(foreign, unet, codec, schedule)
    model = Model(network, schedule.process, schedule.parameterization, spec, codec)
    report = Report(
        (of_unet, of_codec), foreign.unused, tuple(foreign.text), (*foreign.notes, *of_unet.notes())
    )
    return model, report


def to_codec(
    foreign: Foreign, *, scaling: Scaling | None = None, dtype: torch.dtype | None = None
) -> tuple[Latent, PartReport]:
    """The autoencoder of a checkpoint as a codec.

    scaling: of its code, where the file does not state it
    """
    part = foreign.autoencoder
    if part is None:
        raise ValueError(
            f"{foreign.path} has no autoencoder; give one of its family with `inkdrop generate"
            " --vae`"
        )
    found = part.scaling or scaling
    if found is None:
        raise ValueError(
            f"{foreign.path} does not give the scale of its code; use it with a model, whose family"
            " determines it"
        )
    autoencoder, report = filled(
        partial(fresh, part.config), part, "autoencoder", str(foreign.path), dtype
    )
    with named_errors(str(foreign.path)):
        config = LatentConfig(part.config, *found)
    codec = Latent(config, autoencoder)
    return codec.eval().requires_grad_(False), report


def _needed(foreign: Foreign) -> tuple[UNetPart, Schedule]:
    if foreign.unet is None:
        raise ValueError(f"{foreign.path} has no denoiser; get the whole model")
    if foreign.schedule is None:
        raise ValueError(
            f"{foreign.path} is a denoiser alone, without the schedule it was trained with; give"
            " the whole folder"
        )
    return foreign.unet, foreign.schedule


def _codec(
    foreign: Foreign, autoencoder: Foreign | None, dtype: torch.dtype | None
) -> tuple[Latent, PartReport]:
    version, own = foreign.version, foreign.autoencoder
    channels = 0 if foreign.unet is None else foreign.unet.config.in_channels
    scaling = None if own is None else own.scaling
    if scaling is None and version is not None:
        scaling = Scaling((0.0,) * channels, (version.scale,) * channels, upcast=True)
    return to_codec(autoencoder or foreign, scaling=scaling, dtype=dtype)


def _check_code(unet: UNetPart, codec: Latent) -> None:
    made, taken = codec.config.autoencoder.latent_channels, unet.config.in_channels
    if made != taken:
        raise ValueError(
            f"the autoencoder's code has {made} channels, but the denoiser takes {taken}; give an"
            " autoencoder of its family"
        )


def _spec(foreign: Foreign, unet: UNetPart, codec: Latent, schedule: Schedule) -> Spec:
    version, config = foreign.version, codec.config.autoencoder
    notes = {} if version is None else {"family": title(version, unet.config)}
    beside = BESIDE.get(unet.config.concat_channels)
    spec = Spec(
        shape=(config.channels, *usual_sizes(foreign)),
        condition_drop=CONDITION_DROP,
        clip=False,
        told_guidance=unet.config.guidance_dim is not None,
        any_size=True,
        guidance=7.5 if version is None else version.guidance,
        own=schedule.own,
        notes=notes if beside is None else {**notes, "concat": beside.holds},
    )
    return _student(spec, schedule) if schedule.spacing.rule == "lcm" else spec


def usual_sizes(foreign: Foreign) -> tuple[int, int]:
    """Height and width of the pictures that a checkpoint was trained on, in pixels."""
    version, unet, schedule = foreign.version, foreign.unet, foreign.schedule
    if unet is not None and unet.size is not None and foreign.autoencoder is not None:
        factor = foreign.autoencoder.config.factor
        return unet.size[0] * factor, unet.size[1] * factor
    size = 512 if version is None else version.size
    predicts = None if schedule is None else schedule.parameterization
    if version is not None and version.prediction == "v" and predicts != V():
        size = 512  # SD 2 at 512 pixels predicts eps
    return size, size


def _student(spec: Spec, schedule: Schedule) -> Spec:
    """The spec of a latent consistency model: few steps, each at a time that it was trained on."""
    original = schedule.spacing.original
    assert schedule.sampler is not None
    return dataclasses.replace(
        spec,
        sampler=schedule.sampler,
        steps=min(STUDENT_STEPS, original),
        guidance=STUDENT_GUIDANCE if spec.told_guidance else 1.0,
        tuned=tuple(
            Tuned(steps, schedule.sampler, tuple(schedule.times(steps).tolist()))
            for steps in range(1, min(STUDENT_MOST, original) + 1)
        ),
        notes={**spec.notes, ORIGINAL: str(original)},
    )
