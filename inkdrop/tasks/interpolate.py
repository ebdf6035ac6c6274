"""Interpolate: walks through the space of noises, which DDIM turns into walks through pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.media.medium import Look
from inkdrop.model import Between, Condition, Model, Prompt
from inkdrop.tasks.generate import enlarged, sized
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.job import Job, sampling_for
from inkdrop.tasks.plan import chosen, draws, start, times, ungraded, walk
from inkdrop.tasks.request import Interpolate, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


def slerp(a: Tensor, b: Tensor, weights: Sequence[float]) -> Tensor:
    """Spherical interpolation of two tensors, [len(weights), ...]; weights 0 and 1 are the ends.

    The angle is taken between the whole tensors, so Gaussian noise keeps its norm (Shoemake 1985).
    """
    x, y = a.double(), b.double()
    cosine = (x * y).sum() / (x.norm() * y.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        raise ValueError("the two ends point the same or opposite ways; no arc joins them")
    rows = []
    for w in weights:
        row = torch.sin((1 - w) * angle) * x + torch.sin(w * angle) * y
        rows.append(a if w == 0 else b if w == 1 else (row / angle.sin()).to(a.dtype))
    return torch.stack(rows)


def even(frames: int) -> list[float]:
    """`frames` weights from 0 to 1."""
    if frames < 2:
        raise ValueError(f"frames is {frames}: a walk needs at least its 2 ends")
    return [i / (frames - 1) for i in range(frames)]


@torch.no_grad()
def interpolate_seeds(
    model: Model,
    seeds: tuple[int, int],
    *,
    frames: int = 16,
    condition: Condition | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """From sample 0 of one seed to sample 0 of another; x of the last Step holds all frames.

    The noise moves on a sphere and the sampler must be deterministic. The first and last frame
    equal `generate` with those seeds. DDIM, section 5.3.
    """
    _deterministic(model, sampling)
    on = times(model, sampling)
    ends = [
        start(model, SeededNoise(seed, (0,), model.shape, model.process, model.device), on)[0]
        for seed in seeds
    ]
    x = slerp(ends[0], ends[1], even(frames))
    noise = SeededNoise(seeds[0], tuple(range(frames)), model.shape, model.process, model.device)
    conditions = None if condition is None else [condition] * frames
    denoise = _ends_alone(model, conditions, frames, sampling)
    return ungraded(walk(model, denoise, noise, x, on, sampling))


@torch.no_grad()
def interpolate_prompts(
    model: Model,
    prompts: tuple[Prompt, Prompt],
    *,
    frames: int = 16,
    seed: int = 0,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """From one prompt to another, all frames from one noise; x of the last Step holds them.

    The condition moves along `conditioning.text.interpolate`, and fresh noise, if the sampler draws
    any, is the same for all. The first and last frame equal `generate` with those prompts.
    """
    if model.text is None:
        raise ValueError("this model was trained without captions; walk between seeds or pictures")
    asked = [Between(*prompts, fraction=weight) for weight in even(frames)]
    on = times(model, sampling)
    noise = SeededNoise(seed, (0,) * frames, model.shape, model.process, model.device)
    denoise = _ends_alone(model, asked, frames, sampling)
    return ungraded(walk(model, denoise, noise, start(model, noise, on), on, sampling))


def _ends_alone(
    model: Model, conditions: Sequence[Condition] | None, frames: int, sampling: Sampling
) -> Denoiser:
    """A denoiser that asks for the first and the last frame by themselves.

    A network's rounding depends on the size of its batch; so the ends are the pictures that
    `generate` makes of one sample, to the bit.
    """
    rows = [r for r in (range(1), range(1, frames - 1), range(frames - 1, frames)) if r]
    sizes = [len(r) for r in rows]
    parts = [
        denoiser(model, conditions and conditions[r.start : r.stop], len(r), sampling) for r in rows
    ]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        pieces = zip(parts, torch.split(x, sizes), torch.split(t, sizes), strict=True)
        return torch.cat([part(piece, now) for part, piece, now in pieces])

    return denoise


@torch.no_grad()
def interpolate_pictures(
    model: Model,
    pictures: tuple[Tensor, Tensor],
    *,
    frames: int = 16,
    depth: float = 0.5,
    seed: int = 0,
    condition: Condition | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """Between two real pictures [C, *spatial]: noise both alike, mix, denoise. DDPM, section 4.

    depth: how far into the grid to go, from above 0 (a cross-fade) to 1 (nothing of them is left).
    """
    _deterministic(model, sampling)
    if not 0 < depth <= 1:
        raise ValueError(f"depth is {depth}: it must be above 0 and at most 1")
    for picture in pictures:
        if picture.shape != model.spec.shape:
            raise ValueError(
                f"the picture is {tuple(picture.shape)} and the model makes {model.spec.shape}"
            )
    on = times(model, sampling)
    on = on[min(round((1 - depth) * (len(on) - 1)), len(on) - 2) :]
    noise = SeededNoise(seed, (0,), model.shape, model.process, model.device)
    z = model.codec.encode(torch.stack(pictures).to(model.device))
    # One noise for both: their difference is then only in the data, which mixes in a straight line.
    noisy = model.process.add_noise(z, noise.initial().expand_as(z), on[:1].expand(2))
    weight = torch.tensor(even(frames), device=z.device, dtype=z.dtype)
    x = torch.lerp(noisy[0], noisy[1], weight.view(-1, *([1] * (z.ndim - 1))))
    conditions = None if condition is None else [condition] * frames
    fresh = SeededNoise(seed, tuple(range(frames)), model.shape, model.process, model.device)
    denoise = denoiser(model, conditions, frames, sampling)
    return ungraded(walk(model, denoise, fresh, x, on, sampling))


def _deterministic(model: Model, sampling: Sampling) -> None:
    if draws(model, sampling):
        name = chosen(model, sampling)[0]
        raise ValueError(
            f"the sampler {name!r} draws fresh noise; a walk needs a deterministic one, such as"
            " ddim with eta 0"
        )


@dataclass(frozen=True)
class Walking:
    """The job of `interpolate`: all frames are one batch, whose samples are the frames."""

    request: Request
    task: Interpolate

    @property
    def size(self) -> int | tuple[int, int] | None:
        return self.request.size

    @property
    def rows(self) -> list[range]:
        return [range(self.task.frames)]

    @property
    def look(self) -> Look:
        """All frames in one row, unless columns are asked for."""
        return Look(self.request.columns or self.task.frames, self.request.scale)

    def fit(self, model: Model) -> Model:
        return sized(model, self.request.size)

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        request, task = self.request, self.task
        sampling = sampling_for(request, model)
        label = request.labels[0] if request.labels else None
        if task.prompts is not None:
            one, other = (Prompt(text, label) for text in task.prompts)
            return interpolate_prompts(
                model, (one, other), frames=task.frames, seed=request.seed, sampling=sampling
            )
        condition = self._condition(model)
        if task.seeds is not None:
            return interpolate_seeds(
                model, task.seeds, frames=task.frames, condition=condition, sampling=sampling
            )
        assert task.pictures is not None
        first, second = (
            model.medium.read(Path(each.path), model.spec.shape, model.spec.span)
            for each in task.pictures
        )
        return interpolate_pictures(
            model,
            (first, second),
            frames=task.frames,
            depth=task.depth,
            seed=request.seed,
            condition=condition,
            sampling=sampling,
        )

    def _condition(self, model: Model) -> Condition | None:
        """What every frame is: the class that is asked for or else the first, or the prompt."""
        labels, prompt = self.request.labels, self.request.prompt
        if model.text is not None:
            return Prompt(prompt or "", labels[0] if labels else None)
        if prompt is not None:
            raise ValueError("this model was trained without captions; it takes no --prompt")
        return labels[0] if labels else next(iter(model.spec.labels), None)

    def finish(self, model: Model, x: Tensor) -> Tensor:
        return enlarged(model.codec.decode(x).clamp(-1, 1).cpu(), self.request.size)


def open_job(request: Request) -> Job:
    """The request with its files checked; see `tasks.job`."""
    task = request.task
    assert isinstance(task, Interpolate)
    if request.prompt is not None and task.prompts is not None:
        raise ValueError("--prompt is for a walk between seeds or pictures; --prompts says both")
    if request.weak is not None:
        raise ValueError("a walk is not guided by a weaker model; leave out --weak")
    even(task.frames)
    for each in task.pictures or ():
        each.check("picture", "--pictures A B")
    return Walking(request, task)
