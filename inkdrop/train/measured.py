"""What an evaluation measures: a model or an autoencoder, and how data is opened for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdrop.config import parse
from inkdrop.convert.inspect.headers import headers
from inkdrop.find import Found, find
from inkdrop.folder import NAME, kind_of, read_description
from inkdrop.model import Spec
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.train.source import opening
from inkdrop.weights import read_json


@dataclass(frozen=True)
class Measured:
    """What is evaluated: a model, or an autoencoder alone (coder).

    opening: options for opening its data, unless its run records them
    """

    found: Found
    opening: dict[str, Any]
    coder: bool = False


def subject(name: str | Path) -> Measured:
    """The model or autoencoder with this name; its weights are not read yet."""
    found = find(name)
    if not found.own:
        seen = headers(found.path)
        if seen.autoencoder is None:
            raise ValueError(f"{name} has no autoencoder, so it makes no pictures to measure")
        spec = Spec((seen.autoencoder.channels, *seen.sizes))
        return Measured(found, opening(spec))
    where = str(found.path / NAME)
    if kind_of(read_json(found.path / NAME)) == "autoencoder":
        coder = read_description(found.path, "autoencoder")["autoencoder"]
        return Measured(found, {"channels": parse(AutoencoderConfig, coder, where).channels}, True)
    about = read_description(found.path, "model")
    return Measured(found, opening(parse(Spec, about["spec"], f"{where}, spec")))
