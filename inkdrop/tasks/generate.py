"""Generate: new samples from noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.conditions import per_sample
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Conditions, Model
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.job import Job, batches, conditions_for, sampling_for
from inkdrop.tasks.plan import start, times, ungraded, walk
from inkdrop.tasks.request import Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


@torch.no_grad()
def generate(
    model: Model,
    conditions: Conditions | None = None,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    sampling: Sampling = DEFAULT,
    weak: Model | None = None,
    beside: Tensor | None = None,
) -> Iterator[Step]:
    """The samples numbered `samples` of `seed`, in the last Step's x.

    conditions: a prompt or class for all samples, or a list with one for each. They are encoded
    before this returns; the network runs as the Steps are consumed. Sample
    i of a seed is the same alone or in any batch. The Steps are in the codec's space:
    `model.codec.decode(step.x)` gives data [B, C, *sizes] in about [-1, 1]. weak, beside: see
    `guided.denoiser`. ValueError for conditions of another number, or a model that needs a picture.
    """
    if "concat" in model.spec.notes and beside is None:
        raise ValueError(
            f"this model also needs a picture ({model.spec.notes['concat']}); use `inkdrop inpaint`"
            " or `inkdrop edit`"
        )
    conditions = per_sample(conditions, len(samples))
    noise = SeededNoise(seed, tuple(samples), model.shape, model.process, model.device)
    denoise = denoiser(model, conditions, len(samples), sampling, weak=weak, beside=beside)
    on = times(model, sampling)
    return ungraded(walk(model, denoise, noise, start(model, noise, on), on, sampling))


def generate_many(
    model: Model,
    *,
    seed: int = 0,
    count: int = 1,
    conditions: Conditions | None = None,
    batch: int = 64,
    sampling: Sampling = DEFAULT,
) -> Tensor:
    """Samples 0 ... count - 1 of `seed` as data [count, C, *sizes], `batch` at a time."""
    parts, conditions = [], per_sample(conditions, count)
    for first in range(0, count, batch):
        rows = range(first, min(first + batch, count))
        some = None if conditions is None else conditions[rows.start : rows.stop]
        for step in generate(model, seed=seed, samples=rows, conditions=some, sampling=sampling):
            x = step.x
        parts.append(model.codec.decode(x))
    return torch.cat(parts)


def sized(model: Model, size: int | tuple[int, int] | None) -> Model:
    """The model for the requested size in pixels; ValueError for a size that it cannot make.

    A model of fixed size stays as it is: a single number then enlarges its pictures (`enlarged`).
    """
    own = model.spec.shape[1:]
    if size is None:
        return model
    if model.spec.any_size:
        return model.sized(*((size, size) if isinstance(size, int) else size))
    if isinstance(size, tuple):
        raise ValueError(
            f"size is {size[0]}x{size[1]}, but this model only makes {'x'.join(map(str, own))};"
            " give a single number to enlarge that"
        )
    if len(own) != 2:
        raise ValueError(
            f"size is {size}, but this model only makes {model.medium.describe(model.spec.shape)};"
            " leave out the size"
        )
    return model


def enlarged(y: Tensor, size: int | tuple[int, int] | None) -> Tensor:
    """Pictures [B, C, H, W] in [-1, 1], resized bicubically until their longer side is `size`."""
    if not isinstance(size, int) or size == max(y.shape[2:]):
        return y
    scale = size / max(y.shape[2:])
    sides = [max(1, round(side * scale)) for side in y.shape[2:]]
    return F.interpolate(y, size=sides, mode="bicubic", antialias=scale < 1).clamp(-1, 1)


@dataclass(frozen=True)
class Generating:
    """The job of `generate`."""

    request: Request

    @property
    def size(self) -> int | tuple[int, int] | None:
        return self.request.size

    @property
    def rows(self) -> list[range]:
        return batches(self.request)

    @property
    def look(self) -> Look:
        return Look(self.request.columns, self.request.scale)

    def fit(self, model: Model) -> Model:
        return sized(model, self.request.size)

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        return generate(
            model,
            seed=self.request.seed,
            samples=rows,
            conditions=conditions_for(self.request, model, rows),
            sampling=sampling_for(self.request, model),
            weak=weak,
        )

    def finish(self, model: Model, x: Tensor) -> Tensor:
        y = model.codec.decode(x).clamp(-1, 1).cpu()
        return y if model.spec.any_size else enlarged(y, self.request.size)


def open_job(request: Request) -> Job:
    """The request ready to be made; see `tasks.job`."""
    return Generating(request)
