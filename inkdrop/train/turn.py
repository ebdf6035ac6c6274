"""`Turn`: the rows of an update that are computed together, and their random draws.

Noise, times and dropped conditions are functions of the seed, the update and the row in the global
batch. A resumed run, or one split over processes, therefore draws the same numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from inkdrop.diffusion.losses import low_discrepancy
from inkdrop.diffusion.noise import generator
from inkdrop.train.config import TrainConfig


@dataclass(frozen=True)
class Turn:
    """The rows `rows` of the global batch of update `update`, counted from 0, out of `total`.

    held_out: the rows are validation data, and `update` is the number of the validation batch
    """

    update: int
    rows: range
    total: int
    held_out: bool = False

    @property
    def key(self) -> int:
        """The number that, together with the seed, determines its random draws."""
        # Training uses no negative numbers, so validation never shares its noise.
        return -1 - self.update if self.held_out else self.update

    @property
    def part(self) -> slice:
        """Its rows, as an index into values drawn for the whole global batch."""
        return slice(self.rows.start, self.rows.stop)

    @property
    def progress(self) -> float:
        """The fraction of training that is done; 1 in validation, so that losses compare."""
        return 1.0 if self.held_out else self.update / self.total


def draw_noise(x0: Tensor, seed: int, turn: Turn) -> Tensor:
    """Standard Gaussian noise in the shape of x0, for the rows of a turn."""
    shape, dtype = x0.shape[1:], x0.dtype
    noise = [
        torch.randn(shape, generator=generator(seed, "noise", turn.key, row), dtype=dtype)
        for row in turn.rows
    ]
    return torch.stack(noise).to(x0.device)


def draw_places(config: TrainConfig, turn: Turn) -> Tensor:
    """Numbers [B] in [0, 1) from which the times of the whole global batch follow, float64."""
    draws = generator(config.seed, "times", turn.key)
    u = torch.rand(config.batch, generator=draws, dtype=torch.float64)
    return low_discrepancy(u) if config.low_discrepancy else u
