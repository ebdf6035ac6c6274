"""Sharded weights: several files and an index of which file holds which weight, read strictly."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from inkdrop.weights import read_json

T = TypeVar("T")


def read_shards(index: Path, read: Callable[[Path], Mapping[str, T]]) -> dict[str, T]:
    """The weights listed in an index of shards, each from its file.

    read: reads the weights of one file. ValueError unless index and files agree.
    """
    places = shard_places(index)
    shards = {name: read(index.parent / name) for name in sorted({*places.values()})}
    for name, file in places.items():
        if name not in shards[file]:
            raise ValueError(
                f"{index} lists {name!r} in {file}, but it is not there; download both again"
            )
    for file, held in shards.items():
        extra = [name for name in held if places.get(name) != file]
        if extra:
            raise ValueError(
                f"{index} does not list {extra[0]!r}, which is in {file}; download both again"
            )
    return {name: shards[file][name] for name, file in places.items()}


def shard_places(index: Path) -> dict[str, str]:
    """The file name of each weight; ValueError unless the files are in the folder of the index."""
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(
            f"{index} has no weight_map, which lists the file of each weight; download it again"
        )
    for file in {str(file): file for file in places.values()}.values():
        _check(index, file)
    return places


def _check(index: Path, name: Any) -> None:
    """ValueError unless `name` is a plain file name beside the index: a path could be anywhere."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.(safetensors|bin)", name):
        raise ValueError(
            f"{index} lists {name!r} as a file of weights, but only a safetensors file in the same"
            " folder is accepted; get the model again"
        )
    if not (index.parent / name).is_file():
        raise ValueError(f"{index} lists the shard {name}, which is missing; download it again")
