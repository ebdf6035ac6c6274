"""Interpolate: walks through the space of noises, which DDIM turns into walks through pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import Step
from inkdrop.media.image import read_image
from inkdrop.model import Between, Condition, Model, Prompt
from inkdrop.tasks.sampling import (
    DEFAULT,
    Sampling,
    chosen,
    denoiser,
    draws,
    start,
    times,
    walk,
)


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
    yield from walk(model, _ends_alone(model, conditions, frames, sampling), noise, x, on, sampling)


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
    yield from walk(model, denoise, noise, start(model, noise, on), on, sampling)


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
    yield from walk(model, denoiser(model, conditions, frames, sampling), fresh, x, on, sampling)


def _deterministic(model: Model, sampling: Sampling) -> None:
    if draws(model, sampling):
        name = chosen(model, sampling)[0]
        raise ValueError(
            f"the sampler {name!r} draws fresh noise; a walk needs a deterministic one, such as"
            " ddim with eta 0"
        )


def read_for(model: Model, path: Path) -> Tensor:
    """A picture file [C, H, W] in [-1, 1], cut to the square size and channels the model makes."""
    channels, height, width = model.spec.shape
    if height != width:
        raise ValueError(
            f"the model makes {width}x{height}; pictures are read for square models only"
        )
    pixels = read_image(path, size=height, channels=channels)
    return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1
