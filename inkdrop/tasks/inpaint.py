"""Inpaint: what a mask marks in a picture is painted anew, by a model that was trained on masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from inkdrop.config import dump
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.samplers import Step
from inkdrop.media.image import colour_profile, read_unit
from inkdrop.model import Condition, Model, Prompt
from inkdrop.tasks.added import Added
from inkdrop.tasks.canvas import (
    codec_of,
    decoded,
    padded,
    read_transparent,
    save_told,
    takes,
)
from inkdrop.tasks.generate import generate
from inkdrop.tasks.picture import Asked, By, settings_of, watched
from inkdrop.tasks.sampling import DEFAULT, Sampling


@dataclass(frozen=True)
class Masked:
    """A picture [1, C, H, W] in [-1, 1], and a mask [1, 1, H, W], True where it is painted anew.

    transparent: the same picture [1, 4, H, W] where it has transparency; `picture` is it on white
    """

    picture: Tensor
    mask: Tensor
    transparent: Tensor | None = None

    def __post_init__(self) -> None:
        if self.picture.shape[2:] != self.mask.shape[2:]:
            sizes = ["x".join(map(str, x.shape[2:])) for x in (self.mask, self.picture)]
            raise ValueError(
                f"the mask is {sizes[0]}, but the picture {sizes[1]}; make them of one size"
            )
        if not bool(self.mask.any()):
            raise ValueError("the mask marks nothing; make white what is to be painted")


@dataclass(frozen=True)
class Painting:
    """What is painted into, as a PNG keeps it: the files of a picture and a mask, and the seam.

    Without a mask, what is not opaque in the picture is painted.
    """

    picture: Added
    mask: Added | None = None
    seam: int = 0

    def __post_init__(self) -> None:
        if self.seam < 0:
            raise ValueError(f"seam is {self.seam}: it is a number of pixels, 0 or more")

    def read(self, channels: int = 3) -> Masked:
        """The picture on white and the mask; ValueError unless their files are the same and fit."""
        self.picture.check("original", "PICTURE MASK PROMPT")
        picture = 2 * read_unit(self.picture.path, channels) - 1
        transparent = read_transparent(self.picture.path)
        if self.mask is not None:
            self.mask.check("mask", "PICTURE MASK PROMPT")
            return Masked(picture, read_mask(self.mask.path), transparent)
        if transparent is None or not _holes(transparent).any():
            raise ValueError(
                f"{self.picture.path} is opaque, so nothing says where to paint; give a mask that"
                " is white there: PICTURE MASK PROMPT"
            )
        return Masked(picture, _holes(transparent), transparent)


def read_mask(file: str) -> Tensor:
    """A mask's file as [1, 1, H, W], True above half of white.

    ValueError if it has transparency, in which some programs keep what to paint and some the rest.
    """
    transparent = read_transparent(file)
    if transparent is not None and _holes(transparent).any():
        raise ValueError(
            f"the mask {file} is transparent in places, which says neither paint nor keep; make it"
            " white and black alone, or give no mask but a picture that is transparent where to"
            " paint"
        )
    return read_unit(file, 1) >= 0.5


def _holes(transparent: Tensor) -> Tensor:
    return transparent[:, 3:] < 1


def check_painter(model: Model) -> None:
    """ValueError for a model that was not trained on masks."""
    if not takes(model, 1 + model.shape[0]):
        raise ValueError(
            "this model was not trained on masks, and painting with any model will come later; use"
            " an inpainting checkpoint"
        )


def beside(model: Model, masked: Masked, noise: Tensor) -> Tensor:
    """What a mask-trained model is told beside x [B, 1 + code's channels, *code's sizes].

    The mask at the nearest pixels, then the code of the picture without what it hides: a sample of
    what the encoder says, as in training; noise [B, *code's shape] draws it. Rombach et al. 2022.
    """
    picture = masked.picture * ~masked.mask
    code = codec_of(model).sample(picture, noise)
    small = F.interpolate(masked.mask.to(code.dtype), size=code.shape[2:])
    if not bool(small.any()):
        raise ValueError("the mask is finer than the places of the model's code; make it wider")
    return torch.cat([small.expand(len(code), -1, -1, -1), code], dim=1)


@torch.no_grad()
def inpaint(
    model: Model,
    masked: Masked,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    conditions: Sequence[Condition] | None = None,
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """As `generate`, into a picture; `painted` makes pictures of the last Step's x."""
    check_painter(model)
    model, (picture, mask) = padded(model, masked.picture, masked.mask.float())
    noise = torch.stack(
        [torch.randn(model.shape, generator=generator(seed, i, "picture")) for i in samples]
    )
    concat = beside(model, Masked(picture, mask > 0), noise.to(model.device))
    sampling = replace(sampling, beside=concat)
    return generate(model, seed=seed, samples=samples, conditions=conditions, sampling=sampling)


@torch.no_grad()
def painted(model: Model, x: Tensor, masked: Masked, seam: int = 0) -> Tensor:
    """Pictures [B, C, H, W] of codes x: what is not masked is the original's, to the bit.

    Of a picture with transparency C is 4, and what is painted opaque.
    seam: within so many pixels of the mask's edge, inside it, one goes over into the other.
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
        inner = -F.max_pool2d(-inner, 3, stride=1, padding=1)  # what lies a pixel deeper
        weights = weights + inner
    return weights / (seam + 1)


def paint_into(
    model: Model,
    asked: Asked,
    painting: Painting,
    out: Path,
    *,
    by: By | None = None,
    see: Callable[[Step], object] | None = None,
    keep: bool = True,
) -> None:
    """Paints into a picture's file where a mask's says, as `paint` does."""
    masked = painting.read(model.spec.shape[0])
    profile = colour_profile(Path(painting.picture.path))
    steps = inpaint(
        model,
        masked,
        seed=asked.seed,
        samples=range(asked.count),
        conditions=[Prompt(asked.prompt)] * asked.count,
        sampling=asked.sampling(model),
    )
    settings = settings_of(model, asked, by, "inpaint") | dump(painting)
    y = painted(model, watched(steps, model, see, keep=keep), masked, painting.seam)
    save_told(y, asked, out, settings, profile)
