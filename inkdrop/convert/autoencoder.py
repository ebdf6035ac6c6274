"""Autoencoders by themselves: put into a model in place of its own, and converted."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import torch

from inkdrop.codecs.latent import Latent, load_autoencoder
from inkdrop.convert.families import family_at
from inkdrop.convert.files.layout import is_own
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.files import must_exist
from inkdrop.folder import NAME, kind_of
from inkdrop.model import Model
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.weights import make_computable, read_json

# What must be the same in both, by the fields of their configurations.
SHAPE = {
    "dims": "axes",
    "channels": "channels of data",
    "latent_channels": "channels of the code",
    "factor": "pixels for each place of the code",
}
SAME_SCALE = 0.05  # relative; SD 1's 0.18215 and SDXL's 0.13025 are a third apart


def with_autoencoder(
    model: Model,
    path: str | Path,
    *,
    dtype: torch.dtype | None = torch.float32,
    options: ReadOptions = PLAIN,
) -> Model:
    """A new model whose code is decoded, and pictures encoded, by another autoencoder.

    path: an autoencoder's folder or file, a tiny one's (TAESD) too, or a whole model, whose
        autoencoder is taken
    dtype: of its weights; None: as they are stored, where networks compute in that
    Its code is scaled as its own settings say, or where it has none as the model's.
    ValueError in one line for a model without an autoencoder, and for one of another code.
    """
    path = must_exist(path, "autoencoder")
    own = model.codec
    if not isinstance(own, Latent):
        raise ValueError(
            f"{path} is an autoencoder for a model that works on one's code, but this model works"
            " on its samples themselves; leave out --vae"
        )
    codec = _of_ours(path, own, dtype) if is_own(path) else _of_others(path, own, dtype, options)
    _check_code(path, codec, own)
    if dtype is None:
        make_computable(codec)
    return dataclasses.replace(model, codec=codec.to(own.shift.device))


def doubts(path: str | Path, codec: Latent, own: Latent) -> str:
    """A sentence if an autoencoder's scale shows that its code is another than the model's, or "".

    The families of Stable Diffusion have codes of one shape, so the shape cannot tell them apart.
    A tiny one has no scale to compare.
    """
    if any(isinstance(each.config.autoencoder, TAESDConfig) for each in (codec, own)):
        return ""
    found, wanted = (sum(each.config.scale) / len(each.config.scale) for each in (codec, own))
    if abs(found / wanted - 1) < SAME_SCALE:
        return ""
    return (
        f"the autoencoder {path} scales its code by {found:g}, but this model's own by {wanted:g};"
        " if it is one for another family, the pictures will be wrong"
    )


def _check_code(path: Path, codec: Latent, own: Latent) -> None:
    """ValueError unless both autoencoders have the same data and a code of the same shape."""
    for name, what in SHAPE.items():
        found, wanted = (getattr(each.config.autoencoder, name) for each in (codec, own))
        if found != wanted:
            raise ValueError(
                f"the autoencoder {path} has {found} {what}, but this model's has {wanted}; give"
                " one of its family"
            )


def _of_ours(path: Path, own: Latent, dtype: torch.dtype | None) -> Latent:
    """The autoencoder in a folder of inkdrop's own, alone or in a model."""
    if kind_of(read_json(path / NAME)) == "autoencoder":
        autoencoder = load_autoencoder(path)
        config = dataclasses.replace(own.config, autoencoder=autoencoder.config)
        return Latent(config, autoencoder).eval().requires_grad_(False)
    codec = Model.load(path, dtype=dtype).codec
    if not isinstance(codec, Latent):
        raise ValueError(f"{path} is a model without an autoencoder; give another")
    return codec


def _of_others(path: Path, own: Latent, dtype: torch.dtype | None, options: ReadOptions) -> Latent:
    """The autoencoder in another program's file or folder."""
    path = folder_of(path)
    family = family_at(path, options)
    if family.coders is None:
        raise ValueError(
            f"{path} is {family.kind.what}, whose autoencoders are not read; give another"
        )
    return family.coders.build(family.read(path, options), own.config, dtype)


def folder_of(path: Path) -> Path:
    """The folder of a file of weights that diffusers wrote, which has its settings beside it."""
    beside = path.parent / "config.json"
    is_part = path.name.startswith("diffusion_pytorch_model") and beside.is_file()
    return path.parent if is_part else path
