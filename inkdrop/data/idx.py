"""IDX files, plain or gzipped: the format of MNIST and Fashion-MNIST."""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from inkdrop.config import choose
from inkdrop.data.array import from_array
from inkdrop.data.dataset import Dataset
from inkdrop.data.limits import Room
from inkdrop.data.options import DataOptions

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_SPLITS = {"train": "train-images", "test": "t10k-images"}


def is_idx(name: str) -> bool:
    """True for names such as train-images-idx3-ubyte, x.idx3-ubyte or x.idx, also with .gz."""
    name = name.removesuffix(".gz")
    return name.endswith(("-ubyte", ".idx"))


def find_idx(folder: Path) -> dict[str, Path]:
    """A folder's image files by split: train, test."""
    names = sorted(path for path in folder.iterdir() if is_idx(path.name) and path.is_file())
    found = {split: [p for p in names if p.name.startswith(s)] for split, s in _SPLITS.items()}
    return {split: paths[0] for split, paths in found.items() if paths}


def open_idx(path: Path, options: DataOptions) -> Dataset:
    """An image file with its label file beside it, or a folder of them (train unless split=test).

    The labels of x-images-idx3-ubyte are x-labels-idx1-ubyte, each with or without .gz. ValueError
    for a label file, or one that is corrupt.
    """
    options.refuse(path.name, "image", "label", "caption")
    name, notes = path.name, []
    if path.is_dir():
        found = find_idx(path)
        split = options.split or next(iter(found))
        name, path = f"{name}/{split}", choose("split", split, found)
        others = [f"split={other!r}" for other in found if other != split]
        notes = [f"{path.name} is used; {others[0]} opens the other split"] if others else []
    else:
        options.refuse(path.name, "split")
    images = read_idx(path, options.max_gib)
    if images.ndim == 1:
        raise ValueError(f"{path.name} holds labels, not pictures; give the image file beside it")
    return from_array(images, _labels(path, options.max_gib), options, name, notes=notes)


def read_idx(path: Path, max_gib: float = 8.0) -> NDArray[Any]:
    """The array in an IDX file; ValueError if it is corrupt, truncated or not an IDX file.

    max_gib: the most that its header may claim
    """
    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with opener(path, "rb") as file:
            dtype, shape = _header(file.read(4), file.read(4 * 255), path.name)
            # The longest header is 4 * 255 bytes; whatever was read beyond this one is data.
            file.seek(4 + 4 * len(shape))
            size = math.prod(shape) * dtype.itemsize
            Room(max_gib, path.name).take(size)
            data = file.read(size)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(f"{path.name} is corrupt or truncated ({error}); get it again") from None
    if len(data) < size:
        raise ValueError(
            f"{path.name} is truncated: it has {len(data)} of {size} bytes of data; get it again"
        )
    array = np.frombuffer(data, dtype).reshape(shape)
    return array.astype(dtype.newbyteorder("="), copy=False)


def _header(magic: bytes, rest: bytes, name: str) -> tuple[np.dtype[Any], tuple[int, ...]]:
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _TYPES or magic[3] == 0:
        raise ValueError(f"{name} is not an IDX file, despite its name; get it again")
    if len(rest) < 4 * magic[3]:
        raise ValueError(f"{name} is truncated in its header; get it again")
    shape = np.frombuffer(rest[: 4 * magic[3]], ">u4")
    return np.dtype(_TYPES[magic[2]]), tuple(int(n) for n in shape)


def _labels(path: Path, max_gib: float) -> NDArray[Any] | None:
    plain = path.name.removesuffix(".gz").replace("images", "labels").replace("idx3", "idx1")
    for name in (plain, plain + ".gz"):
        beside = path.with_name(name)
        if beside != path and beside.is_file():
            return read_idx(beside, max_gib)
    return None
