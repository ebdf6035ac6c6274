"""What a model is by its settings and the headers of its files: no weight is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from inkdrop.convert.files.layout import layout_of_folder
from inkdrop.convert.files.safe import open_safe
from inkdrop.convert.files.stored import Weights, types_of
from inkdrop.convert.sd.foreign import PLAIN, Foreign, ReadOptions
from inkdrop.convert.sd.model import usual_sizes
from inkdrop.convert.sd.read import read
from inkdrop.digest import files_below
from inkdrop.folder import NAME, read_description
from inkdrop.model.folder import build_model

# The parts that are called at every step: of foreign checkpoints, and of ours.
DENOISERS = ("unet", "network")
CODERS = ("autoencoder", "codec")  # that the code is made a picture by


class Part(NamedTuple):
    """A network: how many numbers it holds, in how many bytes of a file, of what types."""

    name: str
    numbers: int
    bytes: int
    dtypes: tuple[str, ...]


@dataclass(frozen=True)
class Headers:
    """The settings of a model's networks, the sizes of its pictures, and its parts.

    network, autoencoder: None where it has none that this library knows
    """

    network: Any
    autoencoder: Any
    sizes: tuple[int, ...]
    any_size: bool
    parts: tuple[Part, ...]

    def sizes_for(self, size: int | Sequence[int] | None) -> tuple[int, ...]:
        """Of the pictures that it makes where a size is asked for, which may enlarge them."""
        if size is None or not self.any_size:
            return self.sizes
        return (size, size) if isinstance(size, int) else tuple(size)


def headers(path: Path, options: ReadOptions = PLAIN) -> Headers:
    """The headers of a model of ours, a diffusers folder or a single file."""
    if path.is_dir() and layout_of_folder(path) == "inkdrop":
        model = build_model(read_description(path, "model"), str(path / NAME), meta=True)
        coder = getattr(getattr(model.codec, "config", None), "autoencoder", None)
        sizes, any_size = model.spec.shape[1:], model.spec.any_size
        return Headers(model.network.config, coder, sizes, any_size, parts_of_own(path))
    foreign = read(path, options)
    network = None if foreign.denoiser is None else foreign.denoiser.config
    coder = None if foreign.coder is None else foreign.coder.config
    return Headers(network, coder, usual_sizes(foreign), True, parts_of(foreign))


def parts_of_own(folder: Path) -> tuple[Part, ...]:
    """The parts of a model of ours, such as network, codec, text or text_2."""
    return tuple(
        part(file.stem if file.parent == folder else file.parent.name, open_safe(file).weights)
        for file in sorted(files_below(folder))
        if file.suffix == ".safetensors"
    )


def parts_of(foreign: Foreign) -> tuple[Part, ...]:
    """The parts of a foreign checkpoint."""
    named = (("unet", foreign.denoiser), ("autoencoder", foreign.coder))
    texts = [text for text in foreign.text.values() if text.weights]
    return (
        *(part(name, found.weights) for name, found in named if found is not None),
        *(part(text.name, text.weights) for text in texts),
    )


def part(name: str, weights: Weights) -> Part:
    """A part by the headers of its files."""
    values = weights.values()
    return Part(
        name,
        sum(prod(value.shape) for value in values),
        sum(prod(value.shape) * value.dtype.itemsize for value in values),
        types_of(values),
    )
