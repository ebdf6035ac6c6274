"""Previews: a sheet of samples from a diffusion model in training."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from inkdrop.media.medium import Look
from inkdrop.model import Condition, Model
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.feed import HeldOut

if TYPE_CHECKING:
    from PIL.Image import Image

SQUARE = 16  # samples for a model without labels
EACH = 4  # samples per class


def sampled(model: Model, held: HeldOut | None) -> Image | None:
    """A sheet of samples: one column per class (at most 10) or, without labels, a square of 16.

    A model conditioned on pictures gets held-out ones; without held-out data the result is None.
    """
    sampling = Sampling(guidance=None if model.spec.condition_drop else 1.0)
    if "concat" in model.spec.notes:
        return _told(model, held, sampling)
    classes = list(model.classes[:10])
    return _sheet(model, EACH * classes or None, sampling, EACH * len(classes) or SQUARE)


def _told(model: Model, held: HeldOut | None, sampling: Sampling) -> Image | None:
    if held is None or "concat" not in held.data.beside:
        return None
    count = min(SQUARE, len(held.data))
    cond = held(range(count)).cond
    names = model.spec.labels
    wanted = None if cond.label is None else [names[int(label)] for label in cond.label]
    return _sheet(model, wanted, sampling, count, cond.concat)


def _sheet(
    model: Model,
    wanted: list[Condition] | list[str] | None,
    sampling: Sampling,
    count: int,
    beside: Tensor | None = None,
) -> Image:
    for step in generate(
        model, samples=range(count), conditions=wanted, sampling=sampling, beside=beside
    ):
        x = step.x
    columns = len(model.classes[:10]) or None if beside is None else None
    return model.medium.sheet(model.codec.decode(x).cpu(), Look(columns=columns))
