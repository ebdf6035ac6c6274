"""Memory-mapped files: data is read when it is used, and its memory released with the tensor.

A mapping is private: changing a tensor in place copies its pages and leaves the file unchanged.
"""

from __future__ import annotations

import math
import mmap
import weakref
from pathlib import Path

import torch
from torch import Tensor

# The names of dtypes in safetensors files.
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
    """A memory-mapped file, not read yet; its tensors keep it alive."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            self._map = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
        # Tensors at the same offset share one memoryview, so its pages are dropped only after the
        # last of them; dropping pages would discard changes made through another tensor.
        self._bytes = weakref.WeakValueDictionary[int, memoryview]()

    def tensor(self, dtype: torch.dtype, shape: tuple[int, ...], begin: int) -> Tensor:
        """The tensor at a byte offset; a copy if the offset is not aligned to its dtype."""
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
    """Release the pages that lie completely between two offsets, if the system supports it."""
    first, last = -(-begin // mmap.PAGESIZE) * mmap.PAGESIZE, end // mmap.PAGESIZE * mmap.PAGESIZE
    if first < last and hasattr(mmap, "MADV_DONTNEED"):
        mapped.madvise(mmap.MADV_DONTNEED, first, last - first)
