"""A foreign checkpoint as a Model of ours, yet without its text."""

from __future__ import annotations

import dataclasses
from functools import partial

import torch

from inkdrop.codecs.latent import Latent, LatentConfig, fresh
from inkdrop.convert.files.fill import filled
from inkdrop.convert.files.report import PartReport, Report
from inkdrop.convert.files.settings import said_by
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.families import BESIDE, title
from inkdrop.convert.sd.foreign import Foreign, UNetPart
from inkdrop.convert.sd.schedule import Schedule
from inkdrop.diffusion.parameterization import V
from inkdrop.model import Model, Spec, Tuned
from inkdrop.networks.unet import UNet

# How often the family's training left the prompt out, so that guidance has a null condition.
CONDITION_DROP = 0.1
# Of latent consistency models, as their pipeline has it: the usual number of steps and guidance,
# and the largest number of steps for which a grid is kept.
STUDENT_STEPS, STUDENT_GUIDANCE, STUDENT_MOST = 4, 8.5, 10
ORIGINAL = "trained timesteps"  # the note that says how many, so that an export can


def to_model(
    foreign: Foreign, *, autoencoder: Foreign | None = None, dtype: torch.dtype | None = None
) -> tuple[Model, Report]:
    """The model that a checkpoint holds, without its text, and what became of every weight.

    autoencoder: one from elsewhere, such as a tiny one, instead of its own; dtype: of all weights,
    by default what they are stored in. Weights that need no change stay in the mapped file.
    """
    denoiser, schedule = _needed(foreign)
    network, of_unet = filled(
        partial(UNet, denoiser.config), denoiser, "unet", str(foreign.path), dtype
    )
    codec, of_codec = _codec(foreign, autoencoder, dtype)
    _check_code(denoiser, codec)
    with said_by(str(foreign.path)):
        spec = _spec(foreign, denoiser, codec, schedule)
    model = Model(network, schedule.process, schedule.parameterization, spec, codec)
    report = Report(
        (of_unet, of_codec), foreign.unused, tuple(foreign.text), (*foreign.notes, *of_unet.notes())
    )
    return model, report


def to_codec(
    foreign: Foreign, *, scaling: Scaling | None = None, dtype: torch.dtype | None = None
) -> tuple[Latent, PartReport]:
    """The autoencoder of a checkpoint as a codec.

    scaling: of its code, where the file does not say it
    """
    coder = foreign.coder
    if coder is None:
        raise ValueError(f"{foreign.path} has no autoencoder; give one of its family beside it")
    found = coder.scaling or scaling
    if found is None:
        raise ValueError(
            f"{foreign.path} does not say how its code is scaled; use it with a model, whose family"
            " says it"
        )
    autoencoder, report = filled(
        partial(fresh, coder.config), coder, "autoencoder", str(foreign.path), dtype
    )
    with said_by(str(foreign.path)):
        config = LatentConfig(coder.config, *found)
    codec = Latent(config, autoencoder)
    return codec.eval().requires_grad_(False), report


def _needed(foreign: Foreign) -> tuple[UNetPart, Schedule]:
    if foreign.denoiser is None:
        raise ValueError(f"{foreign.path} has no denoiser, so it is no whole model")
    if foreign.schedule is None:
        raise ValueError(
            f"{foreign.path} is a denoiser alone, without the schedule it was trained with; give"
            " the whole folder"
        )
    return foreign.denoiser, foreign.schedule


def _codec(
    foreign: Foreign, autoencoder: Foreign | None, dtype: torch.dtype | None
) -> tuple[Latent, PartReport]:
    family, own = foreign.family, foreign.coder
    channels = 0 if foreign.denoiser is None else foreign.denoiser.config.in_channels
    scaling = None if own is None else own.scaling
    if scaling is None and family is not None:
        scaling = Scaling((0.0,) * channels, (family.scale,) * channels, upcast=True)
    return to_codec(autoencoder or foreign, scaling=scaling, dtype=dtype)


def _check_code(denoiser: UNetPart, codec: Latent) -> None:
    made, taken = codec.config.autoencoder.latent_channels, denoiser.config.in_channels
    if made != taken:
        raise ValueError(
            f"the autoencoder's code has {made} channels, but the denoiser takes {taken}; give an"
            " autoencoder of its family"
        )


def _spec(foreign: Foreign, denoiser: UNetPart, codec: Latent, schedule: Schedule) -> Spec:
    family, config = foreign.family, codec.config.autoencoder
    notes = {} if family is None else {"family": title(family, denoiser.config)}
    beside = BESIDE.get(denoiser.config.concat_channels, ("", ""))[1]
    spec = Spec(
        shape=(config.channels, *usual_sizes(foreign)),
        condition_drop=CONDITION_DROP,
        clip=False,
        told_guidance=denoiser.config.guidance_dim is not None,
        any_size=True,
        guidance=7.5 if family is None else family.guidance,
        notes={**notes, **({"concat": beside} if beside else {})},
    )
    return _student(spec, schedule) if schedule.spacing.rule == "lcm" else spec


def usual_sizes(foreign: Foreign) -> tuple[int, int]:
    """Height and width of the pictures that a checkpoint was trained on."""
    family, denoiser, schedule = foreign.family, foreign.denoiser, foreign.schedule
    if denoiser is not None and denoiser.size is not None and foreign.coder is not None:
        factor = foreign.coder.config.factor
        return denoiser.size[0] * factor, denoiser.size[1] * factor
    size = 512 if family is None else family.size
    predicts = None if schedule is None else schedule.parameterization
    if family is not None and family.prediction == "v" and predicts != V():
        size = 512  # SD 2 at 512 pixels predicts eps
    return size, size


def _student(spec: Spec, schedule: Schedule) -> Spec:
    """The same for a latent consistency model: few steps, each at a time that it was trained on."""
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
