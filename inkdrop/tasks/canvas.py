"""Pictures that a model is told: of any size, and as what it was trained to be told."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import EllipsisType
from typing import Any

from torch import Tensor

from inkdrop.codecs.latent import Latent
from inkdrop.config import dump
from inkdrop.digest import digest_of_file
from inkdrop.media.image import grid, save_image
from inkdrop.model import Model
from inkdrop.networks.control import unet_of
from inkdrop.networks.layers import pad_to_multiple
from inkdrop.tasks.picture import Asked
from inkdrop.tasks.source import Source

Crop = tuple[slice | EllipsisType, ...]


def codec_of(model: Model) -> Latent:
    """Its codec; ValueError for a model that works on pixels, of which none here is told any."""
    if not isinstance(model.codec, Latent):
        raise ValueError("this model works on pixels and is told no picture; use a latent model")
    return model.codec


def told(model: Model) -> int:
    """How many channels a model's network takes of a picture, beside what is made."""
    return unet_of(model.network).config.concat_channels if "concat" in model.spec.notes else 0


def of_size(model: Model, *sizes: int) -> Model:
    """The model for pictures of this size, or the next larger one that its code can stand for."""
    factor = codec_of(model).config.autoencoder.factor
    return model.sized(*(-(-size // factor) * factor for size in sizes))


def padded(model: Model, *pictures: Tensor) -> tuple[Model, list[Tensor], Crop]:
    """The model for pictures [B, C, H, W] of one size, these, and the way back from their size.

    The code's places are several pixels wide, so edges are repeated up to a whole number of them.
    """
    factor = codec_of(model).config.autoencoder.factor
    larger = [pad_to_multiple(picture, factor)[0].to(model.device) for picture in pictures]
    crop = pad_to_multiple(pictures[0], factor)[1]
    return of_size(model, *pictures[0].shape[2:]), larger, crop


def save_told(
    y: Tensor, asked: Asked, out: Path, settings: Mapping[str, Any], files: Mapping[str, str]
) -> None:
    """Writes pictures [B, C, H, W] as one, with settings and the digests of the files told."""
    sources = {name: dump(Source(file, digest_of_file(Path(file)))) for name, file in files.items()}
    whole = grid(y, columns=asked.columns, pad=0 if asked.count == 1 else 2)
    save_image(whole, out, settings={**settings, **sources})
