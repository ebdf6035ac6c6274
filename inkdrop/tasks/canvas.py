"""Pictures that a model is told: of any size, and as what it was trained to be told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from inkdrop.codecs.latent import Latent
from inkdrop.media.image import picture_info, read_unit
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model
from inkdrop.networks.control import Controlled
from inkdrop.networks.layers import pad_to_multiple
from inkdrop.networks.unet import UNet
from inkdrop.tasks.picture import LARGEST, Asked


def codec_of(model: Model) -> Latent:
    """Its codec; ValueError for a model that works on pixels, of which none here is told any."""
    if not isinstance(model.codec, Latent):
        raise ValueError("this model works on pixels and is told no picture; use a latent model")
    return model.codec


def takes(model: Model, channels: int) -> bool:
    """True if so many channels of a picture are what a model is told beside what is made.

    Or if an engine computes its network, which does not say; then the network does when it runs.
    """
    if "concat" not in model.spec.notes:
        return False
    network = model.network.network if isinstance(model.network, Controlled) else model.network
    return not isinstance(network, UNet) or network.config.concat_channels == channels


def of_size(model: Model, *sizes: int) -> Model:
    """The model for pictures of this size, or the next larger one that its code can stand for."""
    factor = codec_of(model).config.autoencoder.factor
    return model.sized(*(-(-size // factor) * factor for size in sizes))


def size_of(file: str) -> tuple[int, int]:
    """Height and width of a picture's file, of which some are larger than any picture made here."""
    seen = picture_info(Path(file))
    if max(seen.height, seen.width) > LARGEST:
        raise ValueError(
            f"{file} is {seen.height}x{seen.width} pixels, of which a side may have {LARGEST};"
            " scale it down first"
        )
    return seen.height, seen.width


def read_transparent(file: str) -> Tensor | None:
    """A picture's file with its transparency [1, 4, H, W] in [-1, 1], to the bit; None if it has
    none. `read_unit` lays it on white, which is what a model is told.
    """
    return 2 * read_unit(file, 4) - 1 if picture_info(Path(file)).alpha else None


def padded(model: Model, *pictures: Tensor) -> tuple[Model, list[Tensor]]:
    """The model for pictures [B, C, H, W] of one size, and these, with their edges repeated up to
    a whole number of the code's places, which are several pixels wide.
    """
    factor = codec_of(model).config.autoencoder.factor
    larger = [pad_to_multiple(picture, factor)[0].to(model.device) for picture in pictures]
    return of_size(model, *pictures[0].shape[2:]), larger


def decoded(model: Model, x: Tensor, picture: Tensor) -> Tensor:
    """Pictures of codes x, of a picture's own size: the way back from `padded`."""
    crop = pad_to_multiple(picture, codec_of(model).config.autoencoder.factor)[1]
    return model.codec.decode(x).clamp(-1, 1).cpu()[crop]


def save_told(
    y: Tensor, asked: Asked, out: Path, settings: Mapping[str, Any], profile: bytes | None
) -> None:
    """Writes pictures [B, C, H, W] as one, with settings and, if they are coloured, the profile of
    the one that was told, which was read before anything was computed.
    """
    whole = sheet(y, columns=asked.columns, pad=0 if asked.count == 1 else 2)
    save_image(whole, out, settings=settings, profile=profile if y.shape[1] > 1 else None)
