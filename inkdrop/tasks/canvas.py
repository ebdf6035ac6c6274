"""Input pictures for a model: any size, padded to what its codec and network accept."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from inkdrop.events import Note
from inkdrop.media.image import picture_info, read_unit
from inkdrop.media.medium import Look
from inkdrop.model import Model
from inkdrop.networks.control import Controlled
from inkdrop.networks.resample import pad_to_multiple
from inkdrop.networks.unet import UNet
from inkdrop.tasks.job import batches
from inkdrop.tasks.request import LARGEST, Request


def takes(model: Model, channels: int) -> bool:
    """True if the network was trained with this many extra input channels, such as a picture.

    Also True if an engine computes the network: its inputs are only known when it runs.
    """
    if "concat" not in model.spec.notes:
        return False
    network = model.network.network if isinstance(model.network, Controlled) else model.network
    return not isinstance(network, UNet) or network.config.concat_channels == channels


def of_size(model: Model, *sizes: int) -> Model:
    """The model for pictures of at least this size, rounded up to whole latent cells."""
    factor = model.codec.factor
    return model.sized(*(-(-size // factor) * factor for size in sizes))


def size_of(file: str) -> tuple[int, int]:
    """Height and width of a picture file in pixels; ValueError if a side exceeds LARGEST."""
    seen = picture_info(Path(file))
    if max(seen.height, seen.width) > LARGEST:
        raise ValueError(
            f"{file} is {seen.height}x{seen.width} pixels, but a side may have at most {LARGEST};"
            " scale it down first"
        )
    return seen.height, seen.width


def read_transparent(file: str) -> Tensor | None:
    """A picture file as RGBA [1, 4, H, W] in [-1, 1], bit-exact; None if it has no alpha channel.

    The model itself gets the picture on white, as `read_unit` reads it.
    """
    return 2 * read_unit(file, 4) - 1 if picture_info(Path(file)).alpha else None


def depth_note(file: str, rows: range) -> list[Note]:
    """Says once, before the first batch, that a picture is read with fewer bits than it has."""
    if rows.start or not picture_info(Path(file)).deep:
        return []
    return [
        Note(f"{file} has more than 8 bits a channel; the result has 8, also where nothing changes")
    ]


def padded(model: Model, *pictures: Tensor) -> tuple[Model, list[Tensor]]:
    """The model for pictures [B, C, H, W] of one size, and the pictures on its device.

    Edges are repeated up to whole latent cells, each of which covers several pixels.
    """
    larger = [pad_to_multiple(each, model.codec.factor)[0].to(model.device) for each in pictures]
    return of_size(model, *pictures[0].shape[2:]), larger


def decoded(model: Model, x: Tensor, picture: Tensor) -> Tensor:
    """Latents x decoded and cropped to the size of `picture`, on the CPU: undoes `padded`."""
    crop = pad_to_multiple(picture, model.codec.factor)[1]
    return model.codec.decode(x).clamp(-1, 1).cpu()[crop]


@dataclass(frozen=True)
class Canvas(ABC):
    """What all jobs on a picture share: its size, its colour profile and the look of the result."""

    request: Request
    size: tuple[int, int]
    profile: bytes | None

    @property
    @abstractmethod
    def alpha(self) -> bool:
        """Whether the result has the alpha channel of the picture."""

    @property
    def rows(self) -> list[range]:
        return batches(self.request)

    @property
    def look(self) -> Look:
        scale = self.request.scale or 1
        return Look(self.request.columns, scale, profile=self.profile, alpha=self.alpha)
