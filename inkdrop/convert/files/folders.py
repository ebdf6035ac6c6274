"""The weights in a part's folder of diffusers or transformers: plain, sharded or a variant."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.pickled import open_trusted_pickle
from inkdrop.convert.files.safe import SafeFile, is_pickle, open_safe, refuse_pickle
from inkdrop.convert.files.scaled import unscaled
from inkdrop.convert.files.stored import Stored
from inkdrop.shards import read_shards

STEMS = ("diffusion_pytorch_model", "model", "pytorch_model")
_STEMS = "|".join(STEMS)

# One file, or the index of shards; the variant is in the middle: fp16, non_ema ...
_PLAIN = re.compile(rf"(?:{_STEMS})(?:\.(\w+))?\.safetensors")
_INDEX = re.compile(rf"(?:{_STEMS})\.safetensors\.index(?:\.(\w+))?\.json")
_PICKLE_INDEX = re.compile(rf"(?:{_STEMS})\.bin\.index(?:\.(\w+))?\.json")
_PICKLE = re.compile(rf"(?:{_STEMS})(?:\.(\w+))?\.(?:bin|pt|pth|ckpt)")


def open_file(path: Path, options: ReadOptions) -> SafeFile:
    """The weights of one file, scaled ones multiplied; a pickle only where the options trust it."""
    file = _opened(path, options)
    return SafeFile(unscaled(file.weights, str(path)), file.metadata)


def _opened(path: Path, options: ReadOptions) -> SafeFile:
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    if is_pickle(path):
        if not options.trust_pickle:
            raise refuse_pickle(path)
        return open_trusted_pickle(path)
    return open_safe(path)


def open_part(folder: Path, options: ReadOptions) -> tuple[dict[str, Stored], str]:
    """The weights in a part's folder, and their variant ("" for the plain ones)."""
    found = _files(folder)
    if not found:
        raise ValueError(f"{folder} has no weights: no {STEMS[0]}.safetensors or the like")
    variant = _chosen(folder, found, options.variant)
    file = found[variant]
    if file.suffix == ".json":
        shards = read_shards(file, lambda shard: _opened(shard, options).weights)
        return unscaled(shards, str(file)), variant  # a scale may be in another shard
    return open_file(file, options).weights, variant


def variants(folder: Path) -> set[str]:
    """The variants of the weights in a part's folder ("" for the plain ones)."""
    return set(_files(folder)) if folder.is_dir() else set()


def _files(folder: Path) -> dict[str, Path]:
    """The file of each variant, or its index; pickles only where there is nothing else."""
    found = _found(folder, _PLAIN) | _found(folder, _INDEX)
    return found or _found(folder, _PICKLE) | _found(folder, _PICKLE_INDEX)


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
        raise ValueError(
            f"{folder} has several variants of its weights ({named}); choose one with"
            " `inkdrop convert --variant NAME`"
        )
    return known[0]
