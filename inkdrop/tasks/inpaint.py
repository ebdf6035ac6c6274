"""Inpaint: repaint the masked part of a picture, with a model trained on masks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.diffusion.noise import check_samples, generator
from inkdrop.diffusion.samplers import Step
from inkdrop.events import Note
from inkdrop.media.image import colour_profile, read_unit
from inkdrop.model import Conditions, Model
from inkdrop.tasks.canvas import (
    Canvas,
    decoded,
    depth_note,
    of_size,
    padded,
    read_transparent,
    size_of,
    takes,
)
from inkdrop.tasks.generate import generate
from inkdrop.tasks.job import Job, conditions_for, sampling_for
from inkdrop.tasks.request import Inpaint, Request
from inkdrop.tasks.sampling import DEFAULT, Sampling


@dataclass(frozen=True)
class Masked:
    """A picture [1, C, H, W] in [-1, 1] on white, and a mask [1, 1, H, W], True where to paint.

    transparent: the same picture as RGBA [1, 4, H, W] if it has an alpha channel. ValueError for a
    mask of another size, or an empty one.
    """

    picture: Tensor
    mask: Tensor
    transparent: Tensor | None = None

    def __post_init__(self) -> None:
        if self.picture.shape[2:] != self.mask.shape[2:]:
            sizes = ["x".join(map(str, x.shape[2:])) for x in (self.mask, self.picture)]
            raise ValueError(
                f"the mask is {sizes[0]}, but the picture {sizes[1]}; make them the same size"
            )
        if not bool(self.mask.any()):
            raise ValueError("the mask is all black; make it white where to paint")


def read_masked(task: Inpaint, channels: int = 3) -> Masked:
    """The picture on white and its mask; ValueError if a file has changed or the two do not fit."""
    task.picture.check("original", "PICTURE MASK PROMPT")
    picture = 2 * read_unit(task.picture.path, channels) - 1
    transparent = read_transparent(task.picture.path)
    if task.mask is not None:
        task.mask.check("mask", "PICTURE MASK PROMPT")
        return Masked(picture, read_mask(task.mask.path), transparent)
    if transparent is None or not _holes(transparent).any():
        raise ValueError(
            f"{task.picture.path} is opaque, so there is nothing to paint; give a mask that is"
            " white where to paint: PICTURE MASK PROMPT"
        )
    return Masked(picture, _holes(transparent), transparent)


def read_mask(file: str) -> Tensor:
    """A mask file as [1, 1, H, W], True from half white upwards.

    ValueError if it is transparent anywhere: to some programs that means paint, to others keep.
    """
    transparent = read_transparent(file)
    if transparent is not None and _holes(transparent).any():
        raise ValueError(
            f"the mask {file} is transparent in places, which could mean paint or keep; make it"
            " black and white, or leave it out and make the picture transparent where to paint"
        )
    return read_unit(file, 1) >= 0.5


def _holes(transparent: Tensor) -> Tensor:
    return transparent[:, 3:] < 1


def check_painter(model: Model) -> None:
    """ValueError for a model that was not trained on masks."""
    if not takes(model, 1 + model.shape[0]):
        raise ValueError("this model was not trained on masks; use an inpainting checkpoint")


def beside(model: Model, masked: Masked, noise: Tensor, *, nearest: bool = False) -> Tensor:
    """The extra input of a mask-trained model, [B, 1 + C, *sizes] in the codec's space.

    First the mask: 1 in every latent cell that it touches (nearest: see `cells`). Then the latent
    of the picture with the mask greyed out: a draw from the encoder's posterior, as in training,
    with noise [B, C, *sizes]. Rombach et al. 2022.
    """
    picture = masked.picture * ~masked.mask
    code = model.codec.sample(picture, noise)
    small = cells(masked.mask, tuple(code.shape[2:]), nearest=nearest).to(code.dtype)
    if not bool(small.any()):
        raise ValueError(
            "the mask falls between the pixels by which --nearest-mask reads it; leave that option"
            " out, or make the mask wider"
        )
    return torch.cat([small.expand(len(code), -1, -1, -1), code], dim=1)


def cells(mask: Tensor, sizes: tuple[int, ...], *, nearest: bool = False) -> Tensor:
    """A mask [1, 1, H, W] on a coarser grid [1, 1, *sizes]: every cell that it touches is True.

    A cell with a hidden pixel is no longer known, however few there are. nearest: instead, each
    cell has the value of its first pixel, as in other programs.
    """
    if nearest:
        return F.interpolate(mask.float(), size=sizes) > 0
    return F.adaptive_max_pool2d(mask.float(), sizes) > 0


@torch.no_grad()
def inpaint(
    model: Model,
    masked: Masked,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    conditions: Conditions | None = None,
    sampling: Sampling = DEFAULT,
    weak: Model | None = None,
    nearest: bool = False,
) -> Iterator[Step]:
    """As `generate`, into a picture; `painted` turns the last Step's x into pictures.

    nearest: see `cells`. ValueError for a model that was not trained on masks.
    """
    check_painter(model)
    check_samples(samples)
    model, (picture, mask) = padded(model, masked.picture, masked.mask.float())
    noise = torch.stack(
        [torch.randn(model.shape, generator=generator(seed, i, "picture")) for i in samples]
    )
    concat = beside(model, Masked(picture, mask > 0), noise.to(model.device), nearest=nearest)
    return generate(
        model,
        seed=seed,
        samples=samples,
        conditions=conditions,
        sampling=sampling,
        weak=weak,
        beside=concat,
    )


@torch.no_grad()
def painted(model: Model, x: Tensor, masked: Masked, seam: int = 0) -> Tensor:
    """Latents x as pictures [B, C, H, W]; outside the mask they are the original, bit for bit.

    A picture with an alpha channel stays RGBA (C = 4), and the painted part is opaque.
    seam: width in pixels, inside the mask's edge, over which old and new are blended.
    """
    made = decoded(model, x, masked.picture)
    mixed = torch.lerp(masked.picture, made, softened(masked.mask, seam))
    if masked.transparent is None:
        return torch.where(masked.mask, mixed, masked.picture)
    opaque = F.pad(mixed[:, :3].expand(-1, 3, -1, -1), (0, 0, 0, 0, 0, 1), value=1.0)
    return torch.where(masked.mask, opaque, masked.transparent)


def softened(mask: Tensor, seam: int) -> Tensor:
    """The mask [B, 1, H, W] as weights that rise from its edge inwards over `seam` pixels."""
    assert seam >= 0
    weights = inner = mask.float()
    for _ in range(seam):
        inner = -F.max_pool2d(-inner, 3, stride=1, padding=1)  # erosion by one pixel
        weights = weights + inner
    return weights / (seam + 1)


@dataclass(frozen=True)
class Inpainting(Canvas):
    """The job of `inpaint`."""

    task: Inpaint
    masked: Masked

    @property
    def alpha(self) -> bool:
        return self.masked.transparent is not None

    def fit(self, model: Model) -> Model:
        check_painter(model)
        return of_size(model, *self.size)

    def steps(self, model: Model, rows: range, weak: Model | None) -> Iterator[Step | Note]:
        steps = inpaint(
            model,
            self._masked(model),
            seed=self.request.seed,
            samples=rows,
            conditions=conditions_for(self.request, model, rows),
            sampling=sampling_for(self.request, model),
            weak=weak,
            nearest=self.task.nearest_mask,
        )
        return chain(depth_note(self.task.picture.path, rows), steps)

    def finish(self, model: Model, x: Tensor) -> Tensor:
        return painted(model, x, self._masked(model), self.task.seam)

    def _masked(self, model: Model) -> Masked:
        channels = model.spec.shape[0]
        return self.masked if channels == 3 else read_masked(self.task, channels)


def open_job(request: Request) -> Job:
    """The request with its files read; see `tasks.job`. ValueError if changed or of other sizes."""
    task = request.task
    assert isinstance(task, Inpaint)
    file = task.picture.path
    masked, profile = read_masked(task), colour_profile(Path(file))
    return Inpainting(request, size_of(file), profile, task, masked)
