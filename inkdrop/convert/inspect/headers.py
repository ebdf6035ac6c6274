"""What a model is according to its settings and the headers of its files: no weight is read."""

from __future__ import annotations

from pathlib import Path

from inkdrop.convert.families import family_at
from inkdrop.convert.family import Headers
from inkdrop.convert.files.layout import is_own
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.parts import Part, part
from inkdrop.convert.files.safe import open_safe
from inkdrop.digest import files_below
from inkdrop.folder import NAME, read_description
from inkdrop.model import Model
from inkdrop.model.folder import build_model


def headers(path: Path, options: ReadOptions = PLAIN) -> Headers:
    """The headers of a Model folder, a diffusers folder or a single file."""
    if is_own(path):
        model = build_model(read_description(path, "model"), str(path / NAME), meta=True)
        return headers_of(model, own_parts(path))
    family = family_at(path, options)
    return family.headers(family.read(path, options))


def headers_of(model: Model, parts: tuple[Part, ...]) -> Headers:
    """The headers of a model with these parts."""
    network = getattr(model.network, "config", None)
    autoencoder = getattr(getattr(model.codec, "config", None), "autoencoder", None)
    return Headers(network, autoencoder, model.spec.shape[1:], model.spec.any_size, parts)


def own_parts(folder: Path) -> tuple[Part, ...]:
    """The parts of a Model folder, such as network, codec, text or text_2."""
    return tuple(
        part(file.stem if file.parent == folder else file.parent.name, open_safe(file).weights)
        for file in sorted(files_below(folder))
        if file.suffix == ".safetensors"
    )
