"""What a diffusion model can do so far, as a picture."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from inkdrop.media.medium import Look
from inkdrop.model import Model
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.feed import HeldOut

if TYPE_CHECKING:
    from PIL.Image import Image


def sampled(model: Model, held: HeldOut | None) -> Image | None:
    """A sheet of samples: with labels one column a class (at most 10), else a square of 16."""
    sampling = Sampling()
    labels = model.classes[:10]
    count = 4 * len(labels) if labels else 16
    wanted = [labels[i % len(labels)] for i in range(count)] if labels else None
    if not model.spec.condition_drop:
        sampling = dataclasses.replace(sampling, guidance=None if labels is None else 1.0)
    for step in generate(model, samples=range(count), conditions=wanted, sampling=sampling):
        x = step.x
    x = model.codec.decode(x).cpu()
    return model.medium.sheet(x, Look(columns=len(labels) or None))
