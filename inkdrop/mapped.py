"""Files mapped into memory: what is used of them is read then, and given back once it is dropped.

A mapping is private: whoever changes a tensor in place has a copy of its pages, and the file stays.
"""

from __future__ import annotations

import math
import mmap
import weakref
from pathlib import Path

import torch
from torch import Tensor

# The names that safetensors give to types.
DTYPES = {
    "BOOL": torch.bool,
    "U8": torch.uint8,
    "I8": torch.int8,
    "U16": torch.uint16,
    "I16": torch.int16,
    "U32": torch.uint32,
    "I32": torch.int32,
    "U64": torch.uint64,
    "I64": torch.int64,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F32": torch.float32,
    "F64": torch.float64,
}


class Mapped:
    """A file in memory, not read yet; its tensors keep it alive."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        # Tensors of one place share its bytes, so none drops pages that another has changed.
        self._bytes = weakref.WeakValueDictionary[int, memoryview]()

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> Tensor:
        """The tensor that begins at a byte; a copy where that place does not suit its type."""
        if not math.prod(shape):
            return torch.empty(shape, dtype=dtype)
        part = self._part(begin, math.prod(shape) * dtype.itemsize)
        raw = torch.frombuffer(part, dtype=torch.uint8)
        return (raw.clone() if begin % dtype.itemsize else raw).view(dtype).view(shape)

    def _part(self, begin: int, size: int) -> memoryview:
        found = self._bytes.get(begin)
        if found is None:
            found = self._bytes[begin] = memoryview(self._map)[begin : begin + size]
            drop = weakref.finalize(found, _drop, self._map, begin, begin + size)
            drop.atexit = False
        return found


def _drop(mapped: mmap.mmap, begin: int, end: int) -> None:
    """Gives the pages back that lie between two bytes as a whole, where the system knows how."""
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED, first, last - first)
