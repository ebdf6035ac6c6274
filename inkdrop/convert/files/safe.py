"""Safetensors files of strangers: checked before anything is read, then mapped, not copied."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from inkdrop.config import short
from inkdrop.convert.files.stored import Stored
from inkdrop.mapped import DTYPES, Mapped
from inkdrop.weights import parsed_json

# An honest header holds some hundred bytes a weight; parsed it takes ten times as much memory.
MOST_HEADER = 25_000_000
# What a tensor of torch can have: axes, and numbers in all, where empty axes count as 1.
AXES, LARGEST = 64, 1 << 63

# The first bytes of other kinds of files, and what these are.
PICKLES = (b"PK\x03\x04", *(b"\x80" + bytes([protocol]) for protocol in range(2, 6)))
OTHERS = {
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself; get that with `git lfs"
    " pull`",
    b"GGUF": "a GGUF file, which is not read here; get the model's safetensors",
    b"<!DOCTYPE": "a web page, not a model; download the file itself",
    b"<html": "a web page, not a model; download the file itself",
}


class SafeFile(NamedTuple):
    """The weights of a safetensors file and the metadata in its header."""

    weights: dict[str, Stored]
    metadata: Mapping[str, str]


class _Entry(NamedTuple):
    name: str
    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


def open_safe(path: Path) -> SafeFile:
    """The weights of a safetensors file, mapped when they are read; ValueError if it is damaged.

    A pickle with this name is recognised by its first bytes and never loaded.
    """
    if not path.is_file():
        raise ValueError(f"there is no file {path}")
    size = path.stat().st_size
    header, start = _header(path, size)
    metadata = header.pop("__metadata__", None) or {}
    if not isinstance(metadata, dict) or not all(isinstance(v, str) for v in metadata.values()):
        raise ValueError(f"{path} has metadata in its header that are not texts; it is damaged")
    entries = [_entry(path, name, about) for name, about in header.items()]
    _check_layout(path, entries, size - start)

    @cache
    def mapped() -> Mapped:
        return Mapped(path)

    def stored(entry: _Entry) -> Stored:
        def read() -> Tensor:
            return mapped().tensor(entry.dtype, entry.shape, start + entry.begin)

        return Stored(entry.shape, entry.dtype, read)

    return SafeFile({entry.name: stored(entry) for entry in entries}, metadata)


def is_pickle(path: Path) -> bool:
    """True for a file that begins like torch's pickles and zip archives."""
    with path.open("rb") as file:
        begin = file.read(9)
    return begin.startswith(PICKLES) and begin[8:] != b"{"


def refuse_pickle(path: Path) -> ValueError:
    """The error for a pickle, whatever its name."""
    return ValueError(
        f"{path} is a pickle, which can run code when it is opened, so it was not opened; get the"
        " model as safetensors, or if you trust its author, use `inkdrop convert"
        " --i-trust-this-pickle`"
    )


def _header(path: Path, size: int) -> tuple[dict[str, Any], int]:
    """The header as JSON, and the offset of the first weight."""
    with path.open("rb") as file:
        begin = file.read(64)
        length = int.from_bytes(begin[:8], "little")
        if begin[8:9] != b"{" or length > min(size - 8, MOST_HEADER):
            raise _no_safetensors(path, begin, length, size)
        file.seek(8)
        text = file.read(length)
    try:
        header = parsed_json(text)
    except ValueError as error:
        raise ValueError(f"{path} has a header that is not valid JSON ({error})") from None
    return header, 8 + length


def _no_safetensors(path: Path, begin: bytes, length: int, size: int) -> ValueError:
    if begin.startswith(PICKLES):
        return refuse_pickle(path)
    for magic, what in OTHERS.items():
        if begin.startswith(magic):
            return ValueError(f"{path} is {what}")
    if size <= 8:
        return ValueError(f"{path} is not a model: it has {size} bytes; download it again")
    if begin[8:9] == b"{":
        return ValueError(
            f"{path} is cut short or damaged: its header should have {length} bytes, and the file"
            f" has {size}; download it again"
        )
    return ValueError(
        f"{path} is not a safetensors file; it begins with {begin[:8]!r}; get the model as"
        " safetensors"
    )


def _entry(path: Path, name: str, about: Any) -> _Entry:
    """One entry of the header; ValueError unless its numbers agree."""
    if not name.isprintable():
        raise ValueError(f"{path} has a weight named {name[:40]!r}, which no model has")
    if not isinstance(about, dict) or set(about) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{path} does not give dtype, shape and data_offsets for {short(name)}")
    shape, offsets = about["shape"], about["data_offsets"]
    if not _shape(shape) or not _counts(offsets) or len(offsets) != 2:
        found = f"shape {shape} at {offsets}"
        raise ValueError(f"{path} has {short(name)} with {found[:100]}, which are not sizes")
    dtype = DTYPES.get(str(about["dtype"]))
    if dtype is None:
        raise ValueError(
            f"{path} holds {short(name)} as {short(about['dtype'])}; the types read here are"
            f" {', '.join(DTYPES)}"
        )
    needed = math.prod(shape) * dtype.itemsize
    if offsets[1] - offsets[0] != needed:
        raise ValueError(
            f"{path} has {offsets[1] - offsets[0]} bytes for {short(name)}, which needs {needed};"
            " it is damaged"
        )
    return _Entry(name, dtype, tuple(shape), offsets[0], offsets[1])


def _counts(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def _shape(value: Any) -> bool:
    """True for a shape of a tensor; the product of thousands of sizes would take minutes."""
    if not _counts(value) or len(value) > AXES:
        return False
    return bool(math.prod(max(n, 1) for n in value) < LARGEST)


def _check_layout(path: Path, entries: list[_Entry], there: int) -> None:
    """ValueError unless the weights follow each other from the first byte to the last."""
    end = 0
    for entry in sorted(entries, key=lambda e: (e.begin, e.end)):
        if entry.begin != end:
            what = "overlaps another weight" if entry.begin < end else "has a gap before it"
            raise ValueError(f"{path} is damaged: {short(entry.name)} {what}")
        end = entry.end
    if there < end:
        raise ValueError(
            f"{path} is cut short: {end - there} of its {end} bytes of weights are missing;"
            " download it again"
        )
    if there > end:
        raise ValueError(
            f"{path} has {there - end} bytes after its last weight, which no safetensors file has;"
            " download it again"
        )
