"""Noise that is a function of (seed, sample, interval): the same alone or in any batch.

Every value is drawn on the CPU, one generator per sample and purpose, so a device changes nothing.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

Noise = Callable[[float, float], Tensor]


def key(*parts: int | float | str) -> int:
    """A 63-bit seed from a tuple of numbers and words, the same on every machine and run."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, str):
            digest.update(b"s" + part.encode() + b"\0")
        elif isinstance(part, float):
            digest.update(b"f" + struct.pack("<d", part))
        else:
            digest.update(b"i" + part.to_bytes(16, "little", signed=True))
    return int.from_bytes(digest.digest(), "little") >> 1


def generator(*parts: int | float | str) -> torch.Generator:
    """A CPU generator keyed by its arguments."""
    return torch.Generator().manual_seed(key(*parts))


@dataclass(frozen=True)
class SeededNoise:
    """Unit Gaussian noise for a batch: sample i is number `samples[i]` of seed `seed`.

    `initial()` is the noise a run starts from; called with (t, s) it is the noise of that interval.
    """

    seed: int
    samples: Sequence[int]
    shape: tuple[int, ...]
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32

    def _draw(self, *parts: int | float | str) -> Tensor:
        rows = [
            torch.randn(self.shape, generator=generator(self.seed, i, *parts), dtype=self.dtype)
            for i in self.samples
        ]
        return torch.stack(rows).to(self.device)

    def initial(self) -> Tensor:
        """[B, *shape], unit Gaussian."""
        return self._draw("initial")

    def __call__(self, t: float, s: float) -> Tensor:
        return self._draw("interval", float(t), float(s))
