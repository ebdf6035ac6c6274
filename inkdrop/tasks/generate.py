"""Generate: new samples from noise."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import Step
from inkdrop.model import Condition, Model
from inkdrop.tasks.sampling import DEFAULT, Sampling, denoiser, start, times, walk


@torch.no_grad()
def generate(
    model: Model,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    conditions: Sequence[Condition] | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """Samples number `samples` of `seed`, one condition each; x of the last Step holds them.

    Conditions are encoded before it returns, the network is called as the Steps are asked for.
    Sample i of a seed is the same alone or in any batch. The Steps are in the codec's space:
    `model.codec.decode(step.x)` are the pictures [B, C, *spatial] in about [-1, 1].
    """
    if conditions is not None and len(conditions) != len(samples):
        raise ValueError(f"{len(samples)} samples need as many conditions, not {len(conditions)}")
    if "concat" in model.spec.notes and sampling.beside is None:
        raise ValueError(
            f"this model is told a picture ({model.spec.notes['concat']}); use `inkdrop inpaint` or"
            " `inkdrop edit`"
        )
    noise = SeededNoise(seed, tuple(samples), model.shape, model.process, model.device)
    denoise = denoiser(model, conditions, len(samples), sampling)
    on = times(model, sampling)
    return _ungraded(walk(model, denoise, noise, start(model, noise, on), on, sampling))


@torch.no_grad()
def _ungraded(steps: Iterator[Step]) -> Iterator[Step]:
    yield from steps


def generate_many(
    model: Model,
    *,
    seed: int = 0,
    count: int = 1,
    conditions: Sequence[Condition] | None = None,
    batch: int = 64,
    sampling: Sampling = DEFAULT,
) -> Tensor:
    """Samples 0 ... count - 1 of `seed` as data [count, C, *spatial], `batch` at a time."""
    parts = []
    for first in range(0, count, batch):
        rows = range(first, min(first + batch, count))
        some = None if conditions is None else conditions[rows.start : rows.stop]
        for step in generate(model, seed=seed, samples=rows, conditions=some, sampling=sampling):
            x = step.x
        parts.append(model.codec.decode(x))
    return torch.cat(parts)
