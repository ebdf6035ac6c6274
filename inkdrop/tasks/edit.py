"""Edit: change a picture by an instruction, with a model trained for it. Brooks et al. 2023."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.media.image import colour_profile, read_unit
from inkdrop.model import Conditions, Model
from inkdrop.tasks.canvas import (
    Canvas,
    decoded,
    depth_note,
    of_size,
    padded,
    read_transparent,
    size_of,
    takes,
)
from inkdrop.tasks.generate import generate
from inkdrop.tasks.job import Job, conditions_for, sampling_for
from inkdrop.tasks.request import Edit, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling

PICTURE_GUIDANCE = 1.5  # the paper's value


def check_editor(model: Model) -> None:
    """ValueError for a model that was not trained to edit pictures."""
    if not takes(model, model.shape[0]):
        raise ValueError(
            "this model was not trained to edit pictures; use an instruct-pix2pix checkpoint"
        )


@torch.no_grad()
def edit(
    model: Model,
    picture: Tensor,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    conditions: Conditions | None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """As `generate`, from a picture [1, C, H, W] in [-1, 1]; conditions are the instructions.

    sampling.guidance is the strength of the words, picture_guidance [1.5] that of the picture.
    `canvas.decoded` turns the last Step's x into pictures. ValueError if the model cannot edit.
    """
    check_editor(model)
    model, (larger,) = padded(model, picture)
    # The network was trained on the autoencoder's latent without the diffusion scale.
    code = model.codec.unscaled(model.codec.encode(larger))
    scale = sampling.picture_guidance
    return generate(
        model,
        seed=seed,
        samples=samples,
        conditions=conditions,
        sampling=replace(sampling, picture_guidance=PICTURE_GUIDANCE if scale is None else scale),
        beside=code.expand(len(samples), -1, -1, -1),
    )


def cut_out(y: Tensor, transparent: Tensor) -> Tensor:
    """Pictures y [B, C, H, W] on white as RGBA [B, 4, H, W], with the alpha of [1, 4, H, W].

    Composited on white they look like y again, except where the alpha is too low for y's colour.
    """
    alpha = (transparent[:, 3:] + 1) / 2
    colour = y[:, :3].expand(-1, 3, -1, -1)
    shown = (1 - (1 - colour) / alpha.clamp(min=1 / 255)).clamp(-1, 1)
    colour = torch.where(alpha > 0, shown, colour)
    return torch.cat([colour, transparent[:, 3:].expand(len(y), -1, -1, -1)], dim=1)


@dataclass(frozen=True)
class Editing(Canvas):
    """The job of `edit`; a transparent picture is edited on white, then gets its alpha back."""

    file: str
    picture: Tensor
    transparent: Tensor | None

    @property
    def alpha(self) -> bool:
        return self.transparent is not None

    def fit(self, model: Model) -> Model:
        check_editor(model)
        return of_size(model, *self.size)

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        steps = edit(
            model,
            self._picture(model),
            seed=self.request.seed,
            samples=rows,
            conditions=conditions_for(self.request, model, rows),
            sampling=sampling_for(self.request, model),
        )
        return chain(depth_note(self.file, rows), steps)

    def finish(self, model: Model, x: Tensor) -> Tensor:
        y = decoded(model, x, self.picture)
        return y if self.transparent is None else cut_out(y, self.transparent)

    def _picture(self, model: Model) -> Tensor:
        channels = model.spec.shape[0]
        return self.picture if channels == 3 else 2 * read_unit(self.file, channels) - 1


def open_job(request: Request) -> Job:
    """The request with its picture read; see `tasks.job`. ValueError if the file has changed."""
    task = request.task
    assert isinstance(task, Edit)
    task.picture.check("original", "PICTURE PROMPT")
    file, scale = task.picture.path, request.sampling.picture_guidance
    whole = replace(request.sampling, picture_guidance=PICTURE_GUIDANCE if scale is None else scale)
    return Editing(
        replace(request, sampling=whole),
        size_of(file),
        colour_profile(Path(file)),
        file,
        picture=2 * read_unit(file, 3) - 1,
        transparent=read_transparent(file),
    )
