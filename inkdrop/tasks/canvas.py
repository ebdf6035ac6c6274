"""Pictures that a model is given: of any size, and as what it was trained to be given."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from inkdrop.media.image import picture_info, read_unit
from inkdrop.model import Model
from inkdrop.networks.control import Controlled
from inkdrop.networks.resample import pad_to_multiple
from inkdrop.networks.unet import UNet
from inkdrop.tasks.request import LARGEST


def takes(model: Model, channels: int) -> bool:
    """Whether the network takes so many channels beside x, as its training gave it a picture.

    True as well where an engine computes the network, which does not say; it will when it runs.
    """
    if "concat" not in model.spec.notes:
        return False
    network = model.network.network if isinstance(model.network, Controlled) else model.network
    return not isinstance(network, UNet) or network.config.concat_channels == channels


def of_size(model: Model, *sizes: int) -> Model:
    """The model for pictures of this size, or the next larger one that its code can stand for."""
    factor = model.codec.factor
    return model.sized(*(-(-size // factor) * factor for size in sizes))


def size_of(file: str) -> tuple[int, int]:
    """Height and width of a picture file; ValueError above LARGEST."""
    seen = picture_info(Path(file))
    if max(seen.height, seen.width) > LARGEST:
        raise ValueError(
            f"{file} is {seen.height}x{seen.width} pixels, and a side may have {LARGEST};"
            " scale it down first"
        )
    return seen.height, seen.width


def read_transparent(file: str) -> Tensor | None:
    """A picture file with its transparency [1, 4, H, W] in [-1, 1], to the bit; None if opaque.

    `read_unit` lays it on white, which is what a model is given.
    """
    return 2 * read_unit(file, 4) - 1 if picture_info(Path(file)).alpha else None


def padded(model: Model, *pictures: Tensor) -> tuple[Model, list[Tensor]]:
    """The model for pictures [B, C, H, W] of one size, and the pictures, with their edges repeated
    up to a whole number of the code's places, which are several pixels wide.
    """
    larger = [pad_to_multiple(each, model.codec.factor)[0].to(model.device) for each in pictures]
    return of_size(model, *pictures[0].shape[2:]), larger


def decoded(model: Model, x: Tensor, picture: Tensor) -> Tensor:
    """Pictures of codes x, of the size of `picture`: the way back from `padded`."""
    crop = pad_to_multiple(picture, model.codec.factor)[1]
    return model.codec.decode(x).clamp(-1, 1).cpu()[crop]
