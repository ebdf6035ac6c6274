"""Interpolate: walks through noise space, which DDIM turns into walks through pictures."""

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
from inkdrop.limits import check_within
from inkdrop.media.medium import Look
from inkdrop.model import Between, Condition, Model, Prompt
from inkdrop.tasks.generate import enlarged, sized
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.job import Job, sampling_for
from inkdrop.tasks.plan import chosen, draws, start, times, ungraded, walk
from inkdrop.tasks.request import DEPTH, FRAMES, Interpolate, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


def slerp(a: Tensor, b: Tensor, weights: Sequence[float]) -> Tensor:
    """Spherical interpolation of two tensors, [len(weights), ...]; weight 0 is a, weight 1 is b.

    The angle is that between the whole tensors, so Gaussian noise keeps its norm (Shoemake 1985).
    ValueError if they are parallel.
    """
    x, y = a.double(), b.double()
    cosine = (x * y).sum() / (x.norm() * y.norm())
    angle = torch.arccos(cosine.clamp(-1, 1))
    if angle.sin().abs() < 1e-6:
        raise ValueError(
            "the two ends point in the same or opposite directions, so no single arc joins them;"
            " choose another end"
        )
    rows = []
    for w in weights:
        row = torch.sin((1 - w) * angle) * x + torch.sin(w * angle) * y
        rows.append(a if w == 0 else b if w == 1 else (row / angle.sin()).to(a.dtype))
    return torch.stack(rows)


def even(frames: int) -> list[float]:
    """`frames` evenly spaced weights from 0 to 1; ValueError for fewer than the two ends."""
    check_within("frames", frames, 2, FRAMES)
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
    """From sample 0 of one seed to sample 0 of another; the last Step's x holds all frames.

    The noise moves on a sphere. The first and last frames equal `generate` with those seeds.
    DDIM (Song et al. 2021), section 5.3. ValueError for a sampler that draws fresh noise.
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
    """From one prompt to another, all frames from the same noise; the last Step's x holds them.

    The condition moves along `conditioning.text.interpolate`; fresh noise, if the sampler draws
    any, is the same for all. The first and last frames equal `generate` with those prompts.
    ValueError for a model without text.
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
    """A denoiser that evaluates the first and the last frame by themselves.

    A network's rounding depends on its batch size. Alone, the ends equal `generate` bit for bit.
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
    """Between two real pictures [C, *spatial]: add the same noise, mix, denoise. DDPM, section 4.

    depth: how far to noise them, in (0, 1]: near 0 is a cross-fade, at 1 nothing of them is left.
    ValueError for a sampler that draws fresh noise, or for pictures of another shape.
    """
    _deterministic(model, sampling)
    if not 0 < depth <= 1:
        raise ValueError(f"depth is {depth}: it must be above 0 and at most 1")
    for picture in pictures:
        if picture.shape != model.spec.shape:
            raise ValueError(
                f"a picture is {tuple(picture.shape)}, but the model makes {model.spec.shape};"
                " resize it"
            )
    on = times(model, sampling)
    on = on[min(round((1 - depth) * (len(on) - 1)), len(on) - 2) :]
    noise = SeededNoise(seed, (0,), model.shape, model.process, model.device)
    z = model.codec.encode(torch.stack(pictures).to(model.device))
    # The same noise for both: they then differ only in the data, which is mixed linearly.
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
            f"the sampler {name!r} draws fresh noise, but a walk needs a deterministic one; use"
            " ddim with eta 0"
        )


@dataclass(frozen=True)
class Walking:
    """The job of `interpolate`: one batch, whose samples are the frames."""

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
        """All frames in one row, unless columns are set."""
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
        """The condition of every frame: the prompt, or the requested class, or the first class."""
        labels, prompt = self.request.labels, self.request.prompt
        if model.text is not None:
            return Prompt(prompt or "", labels[0] if labels else None)
        if prompt is not None:
            raise ValueError("this model was trained without captions; it takes no --prompt")
        return labels[0] if labels else next(iter(model.spec.labels), None)

    def finish(self, model: Model, x: Tensor) -> Tensor:
        return enlarged(model.codec.decode(x).clamp(-1, 1).cpu(), self.request.size)


def open_job(request: Request) -> Job:
    """The request with its files checked; see `tasks.job`. ValueError for options that clash."""
    task = request.task
    assert isinstance(task, Interpolate)
    if request.prompt is not None and task.prompts is not None:
        raise ValueError("--prompt is for a walk between seeds or pictures; use --prompts alone")
    if request.weak is not None:
        raise ValueError("interpolation does not support autoguidance; leave out --weak")
    if len(request.labels) > 1:
        raise ValueError(
            f"interpolation takes one class, not {len(request.labels)}; keep one --label"
        )
    if task.seeds is not None and request.seed:
        raise ValueError(
            f"seed is {request.seed}, but a walk between two seeds has those; leave out --seed"
        )
    if task.pictures is None and task.depth != DEPTH:
        raise ValueError(f"depth is {task.depth}, but it is for a walk between --pictures alone")
    even(task.frames)
    for each in task.pictures or ():
        each.check("picture", "--pictures A B")
    return Walking(request, task)
