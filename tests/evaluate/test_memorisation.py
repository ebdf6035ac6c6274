"""Copies are found, and new samples are not taken for copies; the statistic against scipy's."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import mannwhitneyu
from torch import Tensor

from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.evaluate.matrix import Neighbours
from inkdrop.evaluate.memorisation import Memorisation, memorisation, pairs
from inkdrop.media.medium import Look


def rows(n: int, seed: int) -> Tensor:
    return torch.randn(n, 8, generator=torch.Generator().manual_seed(seed))


def test_copies_are_found_with_their_originals():
    training = rows(300, 0)
    wanted = torch.tensor([5, 299, 0, 5])
    found = memorisation(training[wanted], training, rows(100, 1))
    assert torch.equal(found.samples.index, wanted)
    assert found.samples.distance.tolist() == [0.0] * 4
    assert found.closer == 1


def test_new_samples_are_as_far_as_held_out_ones_and_nearly_copies_are_not():
    training, held_out = rows(400, 0), rows(300, 1)
    assert memorisation(rows(300, 2), training, held_out).closer == pytest.approx(0.5, abs=0.07)
    nearly = training[:300] + 0.1 * rows(300, 3)
    assert memorisation(nearly, training, held_out).closer > 0.95
    assert memorisation(rows(300, 4) + 9, training, held_out).closer < 0.01


def test_closer_is_the_statistic_of_mann_and_whitney_ties_included():
    draw = torch.Generator().manual_seed(0)
    a, b = (torch.randint(0, 7, (n,), generator=draw).double() for n in (40, 25))
    sides = [Neighbours(x, torch.zeros(len(x)).long()) for x in (a, b)]
    expected = mannwhitneyu(b.numpy(), a.numpy()).statistic / (len(a) * len(b))
    assert Memorisation(*sides).closer == pytest.approx(expected, rel=1e-12)


def tones(count: int) -> Dataset:
    array = np.repeat(np.arange(count, dtype=np.uint8) * 10, 4).reshape(count, 1, 2, 2)
    return Dataset("tones", (1, 2, 2), ArrayStore(array), count, "tones")


def test_pairs_show_the_nearest_first_beside_their_training_pictures():
    pictures = torch.tensor([-1.0, 0.0, 1.0]).view(3, 1, 1, 1).expand(3, 1, 2, 2)
    found = Neighbours(torch.tensor([3.0, 1.0, 2.0]), torch.tensor([4, 7, 2]))
    shown = np.asarray(pairs(pictures, tones(9), found, count=2, look=Look(scale=1)))
    # near-square: two pairs of 4x2, one above the other, two white rows between
    assert shown.shape == (6, 4)
    assert shown[0].tolist() == [128, 128, 70, 70]
    assert shown[4].tolist() == [255, 255, 20, 20]


def test_pairs_refuse_other_pictures():
    found = Neighbours(torch.zeros(2), torch.zeros(2).long())
    for shape in ((3, 1, 2, 2), (2, 3, 2, 2)):
        with pytest.raises(ValueError, match=r"2 neighbours of shape \[1, 2, 2\]"):
            pairs(torch.zeros(shape), tones(3), found)
    with pytest.raises(ValueError, match="count is 0"):
        pairs(torch.zeros(2, 1, 2, 2), tones(3), found, count=0)
