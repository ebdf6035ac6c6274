"""Digests that identify data and weights, independent of their path."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

# A file of up to LOOKED bytes is read completely; of a longer one, its first LOOKED bytes and
# PLACES evenly spaced blocks of BLOCK bytes.
LOOKED, PLACES, BLOCK = 1 << 20, 64, 1 << 14
MOST = 10_000  # files and folders in a model's folder


def digest(parts: Iterable[object]) -> str:
    """sha256 over the parts, each with its length or shape, so that boundaries are unambiguous."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            for start in range(0, len(part), 4096):  # a mapped array may be larger than memory
                total.update(np.ascontiguousarray(part[start : start + 4096]).data)
        else:
            text = str(part).encode()
            total.update(f"{len(text)}:".encode() + text)
    return total.hexdigest()


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """sha256 of a state dict, names included, independent of its order."""
    plain = {name: value.detach().cpu().flatten() for name, value in weights.items()}
    values = {  # numpy has no bfloat16
        name: (value.view(torch.int16) if value.dtype == torch.bfloat16 else value).numpy()
        for name, value in plain.items()
    }
    return digest(part for name in sorted(values) for part in (name, values[name]))


def fingerprint(path: Path) -> str:
    """16 hexadecimal digits that identify a model: a file, or the weights and settings in a folder.

    Long files are sampled, so that gigabytes take a fraction of a second. This detects other
    weights and settings, but not a change made to escape detection.
    """
    if path.is_file():
        return digest(_looked(path))[:16]
    files = [f for f in files_below(path) if f.suffix in (".safetensors", ".json")]
    named = sorted((str(file.relative_to(path)), file) for file in files)
    return digest(part for name, file in named for part in (name, *_looked(file)))[:16]


def files_below(folder: Path) -> Iterator[Path]:
    """All files below a folder, also through links, since parts of a model are often links.

    ValueError for more than MOST entries, such as those of a whole disk.
    """
    for number, entry in enumerate(_below(folder, ())):
        if number == MOST:
            raise ValueError(
                f"{folder} has more than {MOST:,} files, which no model has; give its own folder"
            )
        if entry.is_file():
            yield entry


def _below(folder: Path, above: tuple[Path, ...]) -> Iterator[Path]:
    """All entries below a folder; above: the parent folders, to stop at links that lead back."""
    here = folder.resolve()
    if here in above:
        return
    for entry in sorted(folder.iterdir()):
        yield entry
        if entry.is_dir():
            yield from _below(entry, (*above, here))


def _looked(file: Path) -> list[object]:
    """The size of a file, and the digest of the bytes that are read."""
    size, seen = file.stat().st_size, hashlib.sha256()
    with file.open("rb") as opened:
        seen.update(opened.read(LOOKED))
        if size > LOOKED:
            for place in range(PLACES):
                opened.seek(LOOKED + (size - LOOKED) * place // PLACES)
                seen.update(opened.read(BLOCK))
    return [size, seen.hexdigest()]
