"""NumPy's .npy and .npz files: what they hold is known from headers, before anything is read."""

from __future__ import annotations

import math
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from inkdrop.data.limits import Room
from inkdrop.data.names import as_utf8

_NPY = b"\x93NUMPY"


@dataclass(frozen=True)
class Stored:
    """An array in a file: its shape and dtype, and how to load it."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    load: Callable[[], NDArray[Any]]

    @property
    def ndim(self) -> int:
        """The number of its axes."""
        return len(self.shape)


def stored_arrays(path: Path, max_gib: float) -> dict[str, Stored]:
    """The arrays of a file by key; an .npy has the key "" and is memory-mapped.

    Members of an .npz that are no arrays are left out. ValueError for a file that is damaged or
    holds no arrays; and, when one is loaded, for Python objects and for more than max_gib.
    """
    name = as_utf8(path.name)
    with path.open("rb") as file:
        start = file.read(6)
    if not start:
        raise ValueError(f"{name} is empty (0 bytes); copy or save it again")
    if start == _NPY:
        with path.open("rb") as file:
            shape, dtype = _header(file, name)
        return {"": Stored(shape, dtype, partial(_mapped, path, dtype))}
    if start[:2] != b"PK":
        raise ValueError(f"{name} is not a NumPy file, despite its name; save it with numpy.save")
    room = Room(max_gib, name)
    try:
        with zipfile.ZipFile(path) as archive:
            found = {
                info.filename.removesuffix(".npy"): _stored(archive, info, path, room)
                for info in archive.infolist()
                if _is_array(archive, info)
            }
    except _DAMAGE as error:
        raise _damaged(name, error) from None
    if not found:
        raise ValueError(
            f"{name} is a zip without a NumPy array (a PyTorch file is one); save it with"
            " numpy.savez"
        )
    return found


# What a damaged or strange zip raises.
_DAMAGE = (OSError, EOFError, zipfile.BadZipFile, zlib.error, RuntimeError, NotImplementedError)


def _is_array(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> bool:
    if info.is_dir() or not info.filename.endswith(".npy"):
        return False
    with archive.open(info) as member:
        return member.read(6) == _NPY


def _stored(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, room: Room) -> Stored:
    with archive.open(info) as member:
        shape, dtype = _header(member, f"{info.filename} in {as_utf8(path.name)}")
    size = max(info.file_size, math.prod(shape) * dtype.itemsize)
    return Stored(shape, dtype, partial(_unpacked, path, info.filename, dtype, size, room))


def _header(file: IO[bytes], where: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and dtype from the header of an .npy."""
    try:
        version = np.lib.format.read_magic(file)
        # 3.0 differs from 2.0 in the encoding of the names of fields alone.
        first = version == (1, 0)
        read = np.lib.format.read_array_header_1_0 if first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(file)
    except Exception as error:  # it is parsed as Python: SyntaxError, MemoryError, RecursionError
        raise _damaged(where, error) from None
    if any(size < 0 for size in shape) or math.prod(shape) * max(dtype.itemsize, 1) >= 2**62:
        raise ValueError(f"{where} claims the shape {list(shape)}; copy or save it again")
    return shape, dtype


def _mapped(path: Path, dtype: np.dtype[Any]) -> NDArray[Any]:
    _plain(dtype, as_utf8(path.name))
    try:
        found: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise _damaged(as_utf8(path.name), error) from None
    return found


def _unpacked(path: Path, member: str, dtype: np.dtype[Any], size: int, room: Room) -> NDArray[Any]:
    _plain(dtype, f"{member} in {as_utf8(path.name)}")
    room.take(size)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(member) as file:
            found: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    except (*_DAMAGE, ValueError, KeyError) as error:
        raise _damaged(as_utf8(path.name), error) from None
    return found


def _plain(dtype: np.dtype[Any], where: str) -> None:
    if dtype.hasobject:
        raise ValueError(
            f"{where} holds Python objects, which are never loaded (NumPy saves pictures of unequal"
            " shapes like that); make them one array of numbers"
        )


def _damaged(where: str, error: BaseException) -> ValueError:
    said = " ".join(str(error).split()) or type(error).__name__
    return ValueError(f"{where} is corrupt or truncated ({said}); copy or save it again")
