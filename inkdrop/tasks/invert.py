"""Invert: from data to the noise that makes it, for edits that keep the rest of a picture."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.conditions import per_sample
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.samplers.edict import PairStep, edict, undo_edict
from inkdrop.diffusion.samplers.step import Step, Walk, along, levels, noise_in
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Conditions, Model
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.job import Job, conditions_for, sampling_for
from inkdrop.tasks.plan import times, ungraded
from inkdrop.tasks.request import Invert, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


def _grid(model: Model, sampling: Sampling) -> Tensor:
    """The requested grid, starting no higher than the noisiest time of finite log-SNR."""
    on = times(model, sampling).clone()
    on[0] = min(float(on[0]), model.process.t_start)
    return on


def _checked(model: Model, data: Tensor, conditions: Conditions | None) -> None:
    if tuple(data.shape[1:]) != tuple(model.spec.shape):
        raise ValueError(
            f"samples of the data are {tuple(data.shape[1:])}, but the model makes"
            f" {model.spec.shape}; resize them"
        )
    per_sample(conditions, len(data))


def rise(process: Process, denoise: Denoiser, x: Tensor, falling: Tensor) -> Iterator[Step]:
    """DDIM's ODE upwards, from data x [B, ...] to the first time of a falling grid; order 1.

    Each step keeps the noise predicted at its less noisy end (Song et al. 2021, section 4.3).
    The grid's time 0 is not visited: the data stand for the state at the last time before it.
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
    conditions: Conditions | None = None,
    sampling: Sampling = DEFAULT,
    exact: bool = False,
) -> Iterator[Step]:
    """From data [B, C, *spatial] in [-1, 1] to its noise, the last Step, for `reconstruct`.

    exact: EDICT, which runs two coupled chains and is undone up to rounding. Otherwise DDIM's ODE,
    whose reconstruction has a first-order error, larger with guidance above 1. ValueError for data
    or conditions that do not fit.
    """
    _checked(model, data, conditions)
    denoise = denoiser(model, conditions, len(data), sampling)
    z, on = model.codec.encode(data.to(model.device)), _grid(model, sampling)
    if exact:
        # EDICT amplifies rounding errors, so its state is float64; the network keeps its precision.
        return ungraded(undo_edict(model.process, denoise, z.double(), on))
    return ungraded(rise(model.process, denoise, z, on))


@torch.no_grad()
def reconstruct(
    model: Model,
    noise: Step,
    *,
    conditions: Conditions | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """From the last Step of `invert` back to data; change conditions or sampling to edit."""
    denoise = denoiser(model, conditions, len(noise.x), sampling)
    return ungraded(_down(model, noise, denoise, _grid(model, sampling)))


def _down(model: Model, noise: Step, denoise: Denoiser, on: Tensor) -> Iterator[Step]:
    if isinstance(noise, PairStep):
        return edict(model.process, denoise, noise.x, on, y=noise.y)
    return ddim(model.process, denoise, noise.x, on)


@dataclass(frozen=True)
class Inverting:
    """The job of `invert`: rows of originals, their noise, and the reconstructions."""

    request: Request
    task: Invert

    @property
    def size(self) -> None:
        return None

    @property
    def rows(self) -> list[range]:
        return [range(len(self.task.pictures))]

    @property
    def look(self) -> Look:
        return Look(self.request.columns or len(self.task.pictures), self.request.scale)

    def fit(self, model: Model) -> Model:
        return model

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        data, sampling = self._data(model), sampling_for(self.request, model)
        conditions = conditions_for(self.request, model, rows)
        up = invert(model, data, conditions=conditions, sampling=sampling, exact=self.task.exact)
        # A denoiser serves one run, so the way down has its own; words are encoded here.
        denoise = denoiser(model, conditions, len(data), sampling)
        return self._both_ways(model, data, up, denoise, _grid(model, sampling))

    @torch.no_grad()
    def _both_ways(
        self, model: Model, data: Tensor, up: Iterator[Step], denoise: Denoiser, on: Tensor
    ) -> Iterator[Step]:
        """Up to the noise and down again; x holds the noise, then the reconstructions."""
        for step in up:
            yield step
        noise, t = step.x.to(data), torch.tensor([step.t], dtype=torch.float64)
        spread = (model.process.alpha(t) ** 2 + model.process.sigma(t) ** 2).sqrt().item()
        seen = noise / (2 * spread)  # two standard deviations from black to white
        before = step.index + 1
        for back in _down(model, step, denoise, on):
            total = None if back.total is None else before + back.total
            both = torch.cat([seen, back.x.to(data)])
            yield replace(back, index=before + back.index, total=total, x=both)

    def finish(self, model: Model, x: Tensor) -> Tensor:
        noise, back = x.chunk(2)
        if model.codec.module is not None:
            noise = model.codec.decode(noise.to(model.device))
        back = model.codec.decode(back.to(model.device))
        return torch.cat([self._data(model), noise.cpu().float(), back.cpu().float()])

    def _data(self, model: Model) -> Tensor:
        shape, span = model.spec.shape, model.spec.span
        files = (Path(each.path) for each in self.task.pictures)
        return torch.stack([model.medium.read(file, shape, span) for file in files])


def open_job(request: Request) -> Job:
    """The request with its files checked; see `tasks.job`. ValueError for options that clash."""
    task = request.task
    assert isinstance(task, Invert)
    if request.weak is not None:
        raise ValueError("inversion does not support autoguidance; leave out --weak")
    for name in ("sampler", "eta", "tolerance"):
        value = getattr(request.sampling, name)
        if value is not None:
            raise ValueError(
                f"{name} is {value}, but inversion follows DDIM's curve, or EDICT's with --exact;"
                f" leave out {name}"
            )
    if request.seed:
        raise ValueError(f"seed is {request.seed}, but inversion draws no noise; leave it out")
    for each in task.pictures:
        each.check("picture", "PICTURES")
    return Inverting(request, task)
