"""Noise as a function of (seed, sample, interval): the same for a sample alone or in any batch.

All noise is drawn on the CPU, with one generator per sample and purpose, so results do not depend
on the device. The noise of a run is one Brownian path, independent of how it is cut into steps.
"""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor

from inkdrop.arguments import check_fields
from inkdrop.diffusion.process import Process, lambdas


class Noise(Protocol):
    """(t, s, k) -> unit Gaussian noise [B, ...]; see SeededNoise."""

    def __call__(self, t: float, s: float, k: int = 0) -> Tensor: ...


SEEDS = 1 << 127  # whole numbers are hashed as 16 bytes


def key(*parts: int | float | str) -> int:
    """A 63-bit seed from numbers and words, the same on every machine and in every run."""
    digest = hashlib.blake2b(digest_size=8)
    for part in parts:
        if isinstance(part, str):
            digest.update(b"s" + part.encode() + b"\0")
        elif isinstance(part, float):
            digest.update(b"f" + struct.pack("<d", part))
        elif not -SEEDS <= part < SEEDS:
            raise ValueError(
                f"a seed of {part.bit_length()} bits is too large; choose one below 2^127"
            )
        else:
            digest.update(b"i" + int(part).to_bytes(16, "little", signed=True))
    return int.from_bytes(digest.digest(), "little") >> 1


def check_samples(samples: Sequence[int]) -> None:
    """ValueError if there are no numbers of samples."""
    if not samples:
        raise ValueError("samples is empty; give the number of at least one, such as [0]")


def generator(*parts: int | float | str) -> torch.Generator:
    """A CPU generator keyed by its arguments."""
    return torch.Generator().manual_seed(key(*parts))


# The Brownian path is defined on a binary tree over this range of lambda = log(alpha / sigma); its
# leaves are 6e-5 wide. e^-32 is far below float32's resolution, so nothing happens outside.
LOW, HIGH, DEPTH = -32.0, 32.0, 20
LEAF = (HIGH - LOW) / 2**DEPTH

# A node of the tree: its index within its level, and the path at its left and right end.
Cell = tuple[int, Tensor, Tensor]


@dataclass(frozen=True)
class SeededNoise:
    """Noise for a batch: row i is sample number `samples[i]` of seed `seed`, each on its own path.

    `initial()` is the noise a run starts from. A call with (t, s), s less noisy than t, returns the
    increment of the Brownian path over that interval as unit Gaussian noise [B, *shape]: a run with
    different steps follows the same path, and disjoint intervals are independent. If s is equal to
    t or noisier, the noise is independent, keyed by (t, s, k), for samplers that go back up.

    shape: of one sample; process: gives the log-SNR of a time; device, dtype: of the result
    """

    seed: int
    samples: Sequence[int]
    shape: tuple[int, ...]
    process: Process
    device: torch.device | str = "cpu"
    dtype: torch.dtype = torch.float32
    _way: list[tuple[Cell, ...]] = field(default_factory=lambda: [()], repr=False, compare=False)

    def __post_init__(self) -> None:
        check_fields(self)
        check_samples(self.samples)

    def _draw(self, *parts: int | float | str) -> Tensor:
        rows = [
            torch.randn(self.shape, generator=generator(self.seed, i, *parts), dtype=self.dtype)
            for i in self.samples
        ]
        return torch.stack(rows)

    def initial(self) -> Tensor:
        """[B, *shape], unit Gaussian."""
        return self._draw("initial").to(self.device)

    def __call__(self, t: float, s: float, k: int = 0) -> Tensor:
        if s >= t:
            return self._draw("fresh", float(t), float(s), k).to(self.device)
        at_t, at_s = lambdas(self.process, (t, s))
        h = at_s - at_t
        if h < 16 * LEAF or at_s == math.inf:
            # Too short for the tree to resolve, or the last step, which occurs once in any run:
            # independent noise.
            return self._draw("interval", float(t), float(s)).to(self.device)
        # With W Brownian, the exact solution for a constant x_0 holds the integral of
        # e^lambda sqrt(2) dW = B(e^(2 lambda)), B Brownian too. V = e^-lambda B(e^(2 lambda)) is
        # the stationary process with covariance e^-|difference|, and z the increment of B by V.
        z = self._at(at_s)
        if at_t > -math.inf:
            z = torch.sub(z, self._at(at_t), alpha=math.exp(-h)).div_(
                math.sqrt(-math.expm1(-2 * h))
            )
        return z.to(self.device)

    def _at(self, level: float) -> Tensor:
        """V [B, *shape] at a lambda, by bisection with the bridge of V; only the seeds decide it.

        Between two leaves it is their interpolation, scaled to unit variance.
        """
        # Within the range, and below its upper end, which belongs to no leaf.
        x = min(max(level, LOW), HIGH - LEAF / 2)
        place = (x - LOW) / (HIGH - LOW)
        # The last call's cells are a cache: the levels of the tree shared with it are not drawn
        # again. It affects the speed only, never the values.
        way = [cell for depth, cell in enumerate(self._way[0]) if cell[0] == int(place * 2**depth)]
        if not way:
            first = self._draw("path", 0, 0)
            # Both ends are drawn independently: their correlation, e^-64, is negligible.
            way.append((0, first, self._draw("path", 0, 1)))
        for depth in range(len(way), DEPTH + 1):
            index, left, right = way[-1]
            # The stationary process between two known ends: at the midpoint it is Gaussian, with
            # correlation rho = e^-(half the distance) to either end.
            rho = math.exp(-(HIGH - LOW) / 2**depth)
            middle = (left + right).mul_(rho / (1 + rho**2))
            spread = math.sqrt((1 - rho**2) / (1 + rho**2))
            middle.add_(self._draw("path", depth, index), alpha=spread)
            later = int(place * 2**depth) - 2 * index
            way.append((2 * index + 1, middle, right) if later else (2 * index, left, middle))
        self._way[0] = tuple(way)
        index, left, right = way[-1]
        share = (x - LOW) / LEAF - index
        size = math.sqrt(1 - 2 * share * (1 - share) * -math.expm1(-LEAF))
        return torch.lerp(left, right, share).div_(size)
