"""Augmentation as a pure function of the seed and the update, only where it is asked for."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from inkdrop.data.order import words


def flip(x: Tensor, seed: int, update: int, *, first: int = 0) -> Tensor:
    """[B, C, *spatial] with each sample mirrored left to right by the toss of a coin.

    Row i is sample `first + i` of the update's batch, so a part of a batch is tossed as the whole.
    """
    coins = words(first + x.shape[0], seed, update, purpose=2)[first:] >> np.uint64(63)
    chosen = torch.from_numpy(coins.astype(bool)).to(x.device)
    return torch.where(chosen.view(-1, *[1] * (x.ndim - 1)), x.flip(-1), x)
