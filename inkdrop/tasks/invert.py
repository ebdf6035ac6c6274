"""Invert: from data to the noise that makes it, for edits that keep what they do not mean."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.samplers.edict import PairStep, edict, undo_edict
from inkdrop.diffusion.samplers.step import Step, Walk, along, levels, noise_in
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Condition, Model
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.job import Job, conditions_for, sampling_for
from inkdrop.tasks.plan import times, ungraded
from inkdrop.tasks.request import Invert, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


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
        return ungraded(undo_edict(model.process, denoise, z.double(), on))
    return ungraded(rise(model.process, denoise, z, on))


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
    return ungraded(_down(model, noise, denoise, _grid(model, sampling)))


def _down(model: Model, noise: Step, denoise: Denoiser, on: Tensor) -> Iterator[Step]:
    if isinstance(noise, PairStep):
        return edict(model.process, denoise, noise.x, on, y=noise.y)
    return ddim(model.process, denoise, noise.x, on)


@dataclass(frozen=True)
class Inverting:
    """The job of `invert`: rows of the originals, their noise, and what comes back from it."""

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
        # A denoiser is for one run; words are encoded now.
        denoise = denoiser(model, conditions, len(data), sampling)
        return self._both_ways(model, data, up, denoise, _grid(model, sampling))

    @torch.no_grad()
    def _both_ways(
        self, model: Model, data: Tensor, up: Iterator[Step], denoise: Denoiser, on: Tensor
    ) -> Iterator[Step]:
        """Up to the noise and down again: x holds the noise, then what comes back from it."""
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
    """The request with its files checked; see `tasks.job`."""
    task = request.task
    assert isinstance(task, Invert)
    if request.weak is not None:
        raise ValueError("inversion is not guided by a weaker model; leave out --weak")
    for each in task.pictures:
        each.check("picture", "PICTURES")
    return Inverting(request, task)
