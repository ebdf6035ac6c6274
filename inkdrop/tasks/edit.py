"""Edit: a picture changed as words ask, by a model that was trained on it. Brooks et al. 2023."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from inkdrop.config import dump
from inkdrop.diffusion.samplers import Step
from inkdrop.media.image import colour_profile, read_unit
from inkdrop.model import Condition, Model, Prompt
from inkdrop.tasks.added import Added
from inkdrop.tasks.canvas import codec_of, decoded, padded, read_transparent, save_told, takes
from inkdrop.tasks.generate import generate
from inkdrop.tasks.picture import Asked, By, settings_of, watched
from inkdrop.tasks.sampling import DEFAULT, Sampling

PICTURE_GUIDANCE = 1.5  # of the paper


@dataclass(frozen=True)
class Editing:
    """What is edited, as a PNG keeps it: a picture's file, and how much it counts."""

    picture: Added
    picture_guidance: float = PICTURE_GUIDANCE

    def __post_init__(self) -> None:
        Sampling(picture_guidance=self.picture_guidance)  # checks it

    def read(self, channels: int = 3) -> Tensor:
        """The picture [1, C, H, W] in [-1, 1]; ValueError unless its file is still the same."""
        self.picture.check("original", "PICTURE PROMPT")
        return 2 * read_unit(self.picture.path, channels) - 1


def check_editor(model: Model) -> None:
    """ValueError for a model that was not trained to edit pictures."""
    if not takes(model, model.shape[0]):
        raise ValueError(
            "this model was not trained to edit pictures; use an instruct-pix2pix checkpoint"
        )


@torch.no_grad()
def edit(
    model: Model,
    picture: Tensor,
    *,
    seed: int = 0,
    samples: Sequence[int] = (0,),
    conditions: Sequence[Condition],
    sampling: Sampling = DEFAULT,
) -> Iterator[Step]:
    """As `generate`, told a picture [1, C, H, W] in [-1, 1]; conditions say what is to change.

    sampling.guidance is how much the words count, picture_guidance [1.5] how much the picture.
    `canvas.decoded` makes pictures of the last Step's x.
    """
    check_editor(model)
    model, (larger,) = padded(model, picture)
    codec = codec_of(model)
    code = codec.encode(larger) / codec.scale + codec.shift  # it was trained on the code as it is
    scale = sampling.picture_guidance
    sampling = replace(
        sampling,
        beside=code.expand(len(samples), -1, -1, -1),
        picture_guidance=PICTURE_GUIDANCE if scale is None else scale,
    )
    return generate(model, seed=seed, samples=samples, conditions=conditions, sampling=sampling)


def cut_out(y: Tensor, transparent: Tensor) -> Tensor:
    """Pictures y [B, C, H, W] on white as RGBA [B, 4, H, W], as transparent as [1, 4, H, W] is.

    Laid on white again they look as y does, as far as so much white lets them.
    """
    alpha = (transparent[:, 3:] + 1) / 2
    colour = y[:, :3].expand(-1, 3, -1, -1)
    shown = (1 - (1 - colour) / alpha.clamp(min=1 / 255)).clamp(-1, 1)
    colour = torch.where(alpha > 0, shown, colour)
    return torch.cat([colour, transparent[:, 3:].expand(len(y), -1, -1, -1)], dim=1)


def paint_edit(
    model: Model,
    asked: Asked,
    editing: Editing,
    out: Path,
    *,
    by: By | None = None,
    see: Callable[[Step], object] | None = None,
    keep: bool = True,
) -> None:
    """Changes a picture's file as was asked, as `paint` does.

    One with transparency is edited on white and stays as transparent as it was.
    """
    picture, transparent = editing.read(model.spec.shape[0]), read_transparent(editing.picture.path)
    profile = colour_profile(Path(editing.picture.path))
    steps = edit(
        model,
        picture,
        seed=asked.seed,
        samples=range(asked.count),
        conditions=[Prompt(asked.prompt)] * asked.count,
        sampling=replace(asked.sampling(model), picture_guidance=editing.picture_guidance),
    )
    settings = settings_of(model, asked, by, "edit") | dump(editing)
    with torch.no_grad():
        y = decoded(model, watched(steps, model, see, keep=keep), picture)
    if transparent is not None:
        y = cut_out(y, transparent)
    save_told(y, asked, out, settings, profile)
