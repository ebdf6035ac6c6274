"""What a network is that lies by itself, without the rest of a model."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inkdrop.convert.families import kind_of_file, part_kinds
from inkdrop.convert.files.folders import open_file, open_part
from inkdrop.convert.files.layout import CONFIG
from inkdrop.convert.files.options import PLAIN
from inkdrop.convert.files.parts import Part, part
from inkdrop.convert.files.settings import read_settings
from inkdrop.convert.inspect.headers import own_parts
from inkdrop.folder import KINDS, NAME, kind_of
from inkdrop.weights import read_json

# What may be done with a network of another program.
USES = {"an autoencoder": "for: inkdrop generate --model MODEL --vae this"}


def network_lines(what: str, parts: Sequence[Part]) -> list[str]:
    """A network of another program by itself, as `inkdrop info` prints it."""
    use = USES.get(what, "for: nothing by itself; get the whole model to make pictures")
    return [f"layout: {what} alone", *(each.line() for each in parts), use]


def own_lines(folder: Path) -> list[str] | None:
    """An autoencoder or a judge of inkdrop's own; None for a model."""
    kind = kind_of(read_json(folder / NAME))
    if kind == "model" or kind not in KINDS:
        return None
    return [f"layout: {KINDS[kind]}", *(each.line() for each in own_parts(folder))]


def part_lines(path: Path) -> list[str] | None:
    """A file or a folder of weights whose settings are not read here; None for anything else."""
    if path.is_file():
        weights = open_file(path, PLAIN).weights
        kind = kind_of_file(weights)
        if kind is None or kind not in part_kinds():
            return None
        return [f"layout: {kind.what}", part("weights", weights).line()]
    classes = read_settings(path / CONFIG).get("architectures") if (path / CONFIG).is_file() else ()
    if not isinstance(classes, list) or not classes or not isinstance(classes[0], str):
        return None
    weights, _ = open_part(path, PLAIN)
    return network_lines(f"a {classes[0]} of transformers", [part("weights", weights)])
