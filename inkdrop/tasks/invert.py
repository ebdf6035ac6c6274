"""Invert: from data to the noise that makes it, for edits that keep what they do not mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.samplers.edict import PairStep, edict, undo_edict
from inkdrop.diffusion.samplers.step import Step, Walk, along, levels, noise_in
from inkdrop.model import Condition, Model
from inkdrop.tasks.sampling import DEFAULT, Sampling, denoiser, times


def _grid(model: Model, sampling: Sampling) -> Tensor:
    """The grid that was asked for, from the noisiest time of finite log-SNR."""
    on = times(model, sampling).clone()
    on[0] = min(float(on[0]), model.process.t_start)
    return on


def _checked(model: Model, data: Tensor, conditions: Sequence[Condition] | None) -> None:
    if tuple(data.shape[1:]) != tuple(model.spec.shape):
        raise ValueError(
            f"the data are {tuple(data.shape[1:])} each and the model makes {model.spec.shape}"
        )
    if conditions is not None and len(conditions) != len(data):
        raise ValueError(f"{len(data)} samples need as many conditions, not {len(conditions)}")


def rise(process: Process, denoise: Denoiser, x: Tensor, falling: Tensor) -> Iterator[Step]:
    """DDIM's ODE upwards: from data x [B, ...] to the first time of a falling grid; order 1.

    Each step keeps the noise that is seen at its less noisy end. Song et al. 2021, section 4.3. The
    grid's 0 is not visited: data are taken for the state at the last time before it.
    """
    walk = Walk(process, x, falling, 0.0)
    last = walk.total - 1
    x = x * levels(process, (walk.t[last],))[0][0]
    for number, i in enumerate(reversed(range(last))):
        s, t = walk.t[i + 1], walk.t[i]
        x0 = denoise(x, walk.now[i + 1])
        x = along(process, x, noise_in(process, x, x0, s), s, t)
        yield Step(number, last, t, x, x0)


@torch.no_grad()
def invert(
    model: Model,
    data: Tensor,
    *,
    conditions: Sequence[Condition] | None = None,
    sampling: Sampling = DEFAULT,
    exact: bool = False,
) -> Iterator[Step]:
    """From data [B, C, *spatial] up to its noise: x of the last Step, for `reconstruct`.

    exact: by EDICT, whose Steps hold two chains and which `reconstruct` undoes to rounding; else by
    DDIM's ODE, whose way back misses by its order. Guidance above 1 makes the second miss more.
    """
    _checked(model, data, conditions)
    denoise = denoiser(model, conditions, len(data), sampling)
    z, on = model.codec.encode(data.to(model.device)), _grid(model, sampling)
    if exact:
        # Undoing multiplies what rounding leaves; the network itself stays as precise as it is.
        yield from undo_edict(model.process, denoise, z.double(), on)
    else:
        yield from rise(model.process, denoise, z, on)


@torch.no_grad()
def reconstruct(
    model: Model,
    noise: Step,
    *,
    conditions: Sequence[Condition] | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """Back down from the last Step of `invert`, conditions and sampling the same or others."""
    denoise = denoiser(model, conditions, len(noise.x), sampling)
    on = _grid(model, sampling)
    if isinstance(noise, PairStep):
        yield from edict(model.process, denoise, noise.x, on, y=noise.y)
    else:
        yield from ddim(model.process, denoise, noise.x, on)
