"""Memorisation: whether samples are copies of training pictures, by distance in feature space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.evaluate.matrix import Neighbours, matrices, neighbours
from inkdrop.media.medium import PLAIN, Look
from inkdrop.registry import medium

if TYPE_CHECKING:
    from PIL import Image


@dataclass(frozen=True, eq=False)
class Memorisation:
    """The nearest training row of each sample and, for comparison, of each held-out picture."""

    samples: Neighbours
    held_out: Neighbours

    @property
    def closer(self) -> float:
        """How often a sample is nearer to the training set than a held-out one; ties count half.

        1/2: samples are as far from it as new real pictures. 1: all samples are nearer, which means
        copies. Below 1/2: samples are farther from real pictures than real ones are. The statistic
        of Mann and Whitney 1947, as used by Meehan et al. 2020.
        """
        ours, theirs = self.samples.distance, self.held_out.distance.sort().values
        below = torch.searchsorted(theirs, ours, right=False)
        upto = torch.searchsorted(theirs, ours, right=True)
        return 1 - float((below + upto).double().mean()) / (2 * len(theirs))


def memorisation(samples: Tensor, training: Tensor, held_out: Tensor) -> Memorisation:
    """Memorisation from features [M, D], [N, D] and [H, D] of one network; ValueError if D differs.

    held_out: real pictures that were not used in training.
    """
    found = []
    for rows in (samples, held_out):
        x, y = matrices(rows, training)
        found.append(neighbours(x, y))
    return Memorisation(*found)


def pairs(
    pictures: Tensor, training: Dataset, found: Neighbours, *, count: int = 16, look: Look = PLAIN
) -> Image.Image:
    """A sheet of the `count` samples nearest to the training set, each beside its neighbour.

    pictures [M, C, H, W] in [-1, 1]; found: their neighbours, as indices into `training`, which are
    shown on the right; the nearest comes first. ValueError if they do not fit together.
    """
    if len(pictures) != len(found.index) or pictures.shape[1:] != training.shape:
        raise ValueError(
            f"pictures have shape {list(pictures.shape)}, but there are {len(found.index)}"
            f" neighbours of shape {list(training.shape)}; give the pictures they were found for"
        )
    if count < 1:
        raise ValueError(f"count is {count}; show at least one pair")
    order = found.distance.argsort(stable=True)[:count].cpu()
    real = training.take(found.index.cpu()[order].numpy())
    both = torch.cat([pictures.detach().cpu()[order], real], dim=-1)
    return medium(training.medium).sheet(both, look)
