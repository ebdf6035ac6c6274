"""The weights of a part in a folder of diffusers or transformers: plain, sharded or a variant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inkdrop.convert.foreign import Options
from inkdrop.convert.pickled import open_trusted_pickle
from inkdrop.convert.safe import SafeFile, is_pickle, open_safe, refuse_pickle
from inkdrop.convert.settings import read_settings
from inkdrop.convert.stored import Stored

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_STEMS = "|".join(STEMS)

# One file, or the list of shards, each with its variant between: fp16, non_ema ...
_PLAIN = re.compile(rf"(?:{_STEMS})(?:\.(\w+))?\.safetensors")
_INDEX = re.compile(rf"(?:{_STEMS})\.safetensors\.index(?:\.(\w+))?\.json")
_PICKLE_INDEX = re.compile(rf"(?:{_STEMS})\.bin\.index(?:\.(\w+))?\.json")
_PICKLE = re.compile(rf"(?:{_STEMS})(?:\.(\w+))?\.(?:bin|pt|pth|ckpt)")


def open_file(path: Path, options: Options) -> SafeFile:
    """The weights of one file; a pickle only where the options trust it."""
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if is_pickle(path):
        if not options.trust_pickle:
            raise refuse_pickle(path)
        return open_trusted_pickle(path)
    return open_safe(path)


def open_part(folder: Path, options: Options) -> tuple[dict[str, Stored], str]:
    """The weights of a part's folder, and the variant that they are ("" for the plain ones)."""
    found = _found(folder, _PLAIN) | _found(folder, _INDEX)
    found = found or _found(folder, _PICKLE) | _found(folder, _PICKLE_INDEX)
    if not found:
        raise ValueError(f"{folder} has no weights: no {STEMS[0]}.safetensors or the like")
    variant = _chosen(folder, found, options.variant)
    file = found[variant]
    if file.suffix == ".json":
        return _sharded(file, options), variant
    return open_file(file, options).weights, variant


def _found(folder: Path, pattern: re.Pattern[str]) -> dict[str, Path]:
    """The files that match, by their variant."""
    matches = ((pattern.fullmatch(file.name), file) for file in sorted(folder.iterdir()))
    return {match[1] or "": file for match, file in matches if match}


def _chosen(folder: Path, variants: Iterable[str], wanted: str | None) -> str:
    """The variant that is asked for, else the plain one, else the only one."""
    known = sorted(variants)
    named = ", ".join(name or "the plain one" for name in known)
    if wanted is not None:
        if wanted in known:
            return wanted
        raise ValueError(f"{folder} has no variant {wanted!r} of its weights; it has {named}")
    if "" in known:
        return ""
    if len(known) > 1:
        raise ValueError(f"{folder} has several variants of its weights ({named}); choose one")
    return known[0]


def _sharded(index: Path, options: Options) -> dict[str, Stored]:
    """The weights that a list of shards names, each in the file it says."""
    places = read_settings(index).get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError(f"{index} has no weight_map, which says the file of each weight")
    names = sorted({_shard(index, file) for file in places.values()})
    shards = {name: open_file(index.parent / name, options).weights for name in names}
    weights = {}
    for name, file in places.items():
        if name not in shards[file]:
            raise ValueError(f"{index} says that {name!r} is in {file}, but it is not")
        weights[name] = shards[file][name]
    for file, held in shards.items():
        extra = [name for name in held if places.get(name) != file]
        if extra:
            raise ValueError(f"{index} does not list {extra[0]!r}, which {file} holds")
    return weights


def _shard(index: Path, name: Any) -> str:
    """The name of a shard; ValueError unless it is a plain name of a file beside the list."""
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*\.(safetensors|bin)", name):
        raise ValueError(
            f"{index} names {name!r} as a file of weights; only a safetensors file in the same"
            " folder can be one"
        )
    if not (index.parent / name).is_file():
        raise ValueError(f"{index} names the shard {name}, which is missing; download it again")
    return name
