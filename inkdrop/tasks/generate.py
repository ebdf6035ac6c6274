"""Generate: new samples from noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.constraints import clip
from inkdrop.diffusion.guidance import Denoiser, bind, cfg
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import Step, sampler
from inkdrop.diffusion.times import grid
from inkdrop.model import Model


@dataclass(frozen=True)
class Sampling:
    """How to sample; None means the model's own default.

    guidance: 1 is the plain conditional model; eta: None is the sampler's own; batched: guidance in
    one call of twice the batch (two calls need less memory).
    """

    sampler: str | None = None
    grid: str | None = None
    steps: int | None = None
    guidance: float | None = None
    eta: float | None = None
    batched: bool = True


DEFAULT = Sampling()


def denoiser(
    model: Model, labels: Sequence[str | int] | None, batch: int, sampling: Sampling = DEFAULT
) -> Denoiser:
    """(x, t) -> x_0 with the condition, its guidance and the clip of pixels bound."""
    null = model.null(batch)
    scale = sampling.guidance
    if labels is None:
        if scale not in (None, 1.0):
            reason = "give it a label" if model.spec.labels else "this model has no condition"
            raise ValueError(
                f"guidance is {scale}, but there is nothing to guide towards: {reason}"
            )
        if model.spec.labels and model.spec.condition_drop == 0:
            raise ValueError(
                "this model was trained with every condition given (condition drop 0) and cannot"
                " sample without a label; give one"
            )
        denoise = bind(model.denoise, null)
    else:
        scale = model.spec.guidance if scale is None else scale
        if scale != 1 and model.spec.condition_drop == 0:
            raise ValueError(
                f"guidance is {scale}, but this model was trained with condition drop 0 and knows"
                " no null condition; use guidance 1 or train with --condition-drop 0.1"
            )
        denoise = cfg(
            model.denoise, model.label(list(labels)), null, scale, batched=sampling.batched
        )
    return clip(denoise) if model.spec.clip else denoise


def times(model: Model, sampling: Sampling = DEFAULT) -> Tensor:
    """The grid that `sampling` asks for, or the model's own."""
    spec = model.spec
    steps = spec.steps if sampling.steps is None else sampling.steps
    return grid(model.process, sampling.grid or spec.grid, steps)


def walk(
    model: Model, denoise: Denoiser, noise: SeededNoise, x: Tensor, on: Tensor, sampling: Sampling
) -> Iterator[Step]:
    """Runs the sampler asked for from x at times on[0]; the steps as they come."""
    run = sampler(sampling.sampler or model.spec.sampler)
    if sampling.eta is None:
        return run(model.process, denoise, x, on, noise=noise)
    return run(model.process, denoise, x, on, eta=sampling.eta, noise=noise)


@torch.no_grad()
def generate(
    model: Model,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    labels: Sequence[str | int] | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """Samples number `samples` of `seed`, one label each; x of the last Step holds them.

    Sample i of a seed is the same alone or in any batch. The Steps are in the codec's space:
    `model.codec.decode(step.x)` are the pictures [B, C, *spatial] in about [-1, 1].
    """
    if labels is not None and len(labels) != len(samples):
        raise ValueError(f"{len(samples)} samples need as many labels, not {len(labels)}")
    noise = SeededNoise(seed, tuple(samples), model.spec.shape, model.process, model.device)
    denoise = denoiser(model, labels, len(samples), sampling)
    on = times(model, sampling)
    yield from walk(model, denoise, noise, start(model, noise, on), on, sampling)


def start(model: Model, noise: SeededNoise, on: Tensor) -> Tensor:
    """The state at the grid's first time when no data is known: noise of its spread."""
    return noise.initial() * float(model.process.sigma(on[:1]))


def generate_many(
    model: Model,
    *,
    seed: int = 0,
    count: int = 1,
    labels: Sequence[str | int] | None = None,
    batch: int = 64,
    sampling: Sampling = DEFAULT,
) -> Tensor:
    """Samples 0 ... count - 1 of `seed` as data [count, C, *spatial], `batch` at a time."""
    parts = []
    for first in range(0, count, batch):
        rows = range(first, min(first + batch, count))
        some = None if labels is None else labels[rows.start : rows.stop]
        for step in generate(model, seed=seed, samples=rows, labels=some, sampling=sampling):
            x = step.x
        parts.append(model.codec.decode(x))
    return torch.cat(parts)
