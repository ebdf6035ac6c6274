"""R-precision against a ranking by hand, with ties; the CLIP score of known angles."""

from __future__ import annotations

import math

import pytest
import torch
from scipy.stats import rankdata

from inkdrop.evaluate.alignment import clip_score, r_precision


@pytest.mark.parametrize("k", [1, 2, 5])
def test_agrees_with_ranks_of_scipy(k: int):
    draw = torch.Generator().manual_seed(0)
    scores = torch.randint(0, 9, (200, 12), generator=draw).double()  # many ties
    right = torch.randint(0, 12, (200,), generator=draw)
    ranks = rankdata(-scores.numpy(), method="max", axis=1)
    expected = (ranks[range(200), right.numpy()] <= k).mean()
    assert 0 < expected < 1
    assert r_precision(scores, right, k=k) == pytest.approx(expected)


def test_ties_count_against_the_sample():
    scores = torch.tensor([[0.9, 0.9, 0.1], [0.9, 0.8, 0.1]])
    right = torch.tensor([0, 0])
    assert r_precision(scores, right) == 0.5
    assert r_precision(scores, right, k=2) == 1
    assert r_precision(torch.zeros(4, 100), torch.arange(4)) == 0


def test_clip_score_of_known_angles():
    angles = torch.tensor([0.0, 60.0, 90.0, 180.0]).double().deg2rad()
    pictures = 7 * torch.stack([angles.cos(), angles.sin()], 1)
    texts = torch.tensor([[0.1, 0.0]]).expand(4, 2)
    # the last is -1, which counts as 0
    assert clip_score(pictures, texts) == pytest.approx(100 * (1 + 0.5) / 4)
    assert clip_score(pictures[1:2], texts[:1]) == pytest.approx(100 * math.cos(math.pi / 3))


@pytest.mark.parametrize(
    ("scores", "right", "k", "said"),
    [
        (torch.zeros(3), torch.zeros(3).long(), 1, r"give \[N, K\] and \[N\]"),
        (torch.zeros(3, 4), torch.zeros(2).long(), 1, r"give \[N, K\] and \[N\]"),
        (torch.zeros(1, 4), torch.tensor([4]), 1, "from 0 to 3"),
        (torch.zeros(1, 4), torch.tensor([0.5]), 1, "one integer"),
        (torch.full((1, 4), torch.nan), torch.tensor([0]), 1, "NaN"),
        (torch.zeros(1, 4), torch.tensor([0]), 4, "k is 4, but with 4 candidates"),
    ],
)
def test_r_precision_refuses(scores, right, k, said):
    with pytest.raises(ValueError, match=said):
        r_precision(scores, right, k=k)


def test_clip_score_refuses():
    with pytest.raises(ValueError, match="2 pictures and 3 texts"):
        clip_score(torch.ones(2, 4), torch.ones(3, 4))
    with pytest.raises(ValueError, match="embedding of text 1 is zero"):
        clip_score(torch.ones(2, 4), torch.tensor([[1.0] * 4, [0.0] * 4]))
