"""Weights in several files, and the list that says which file has which: one strict reading."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from inkdrop.weights import read_json

T = TypeVar("T")


def read_shards(index: Path, read: Callable[[Path], Mapping[str, T]]) -> dict[str, T]:
    """The weights that a list of shards names, each from the file that it says.

    read: gives the weights of one file. ValueError unless list and files agree.
    """
    places = shard_places(index)
    shards = {name: read(index.parent / name) for name in sorted({*places.values()})}
    for name, file in places.items():
        if name not in shards[file]:
            raise ValueError(f"{index} says that {name!r} is in {file}, but it is not")
    for file, held in shards.items():
        extra = [name for name in held if places.get(name) != file]
        if extra:
            raise ValueError(f"{index} does not list {extra[0]!r}, which {file} holds")
    return {name: shards[file][name] for name, file in places.items()}


def shard_places(index: Path) -> dict[str, str]:
    """The file beside the list that has each weight; ValueError for any other place."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} has no weight_map, which says the file of each weight")
    for file in {str(file): file for file in places.values()}.values():
        _check(index, file)
    return places


def _check(index: Path, name: Any) -> None:
    """ValueError unless it is a plain name of a file beside the list."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.(safetensors|bin)", name):
        raise ValueError(
            f"{index} names {name!r} as a file of weights; only a safetensors file in the same"
            " folder can be one"
        )
    if not (index.parent / name).is_file():
        raise ValueError(f"{index} names the shard {name}, which is missing; download it again")
