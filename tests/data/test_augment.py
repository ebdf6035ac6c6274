"""Flips: half of the samples, by a coin that knows only seed, update and place in the batch."""

from __future__ import annotations

import torch

from inkdrop.data.augment import flip


def test_each_sample_is_kept_or_mirrored() -> None:
    x = torch.rand(200, 3, 4, 5)
    y = flip(x, 0, 0)
    mirrored = [torch.equal(b, a.flip(-1)) for a, b in zip(x, y, strict=True)]
    kept = [torch.equal(b, a) for a, b in zip(x, y, strict=True)]
    assert all(a != b for a, b in zip(mirrored, kept, strict=True))
    assert 60 < sum(mirrored) < 140


def test_the_coin_depends_on_seed_and_update_alone() -> None:
    x = torch.rand(32, 1, 2, 2)
    assert torch.equal(flip(x, 1, 2), flip(x, 1, 2))
    assert not torch.equal(flip(x, 1, 2), flip(x, 1, 3))
    assert not torch.equal(flip(x, 1, 2), flip(x, 2, 2))


def test_a_part_of_a_batch_is_tossed_as_the_whole() -> None:
    x = torch.rand(9, 1, 2, 2)
    parts = [flip(x[:4], 5, 6), flip(x[4:], 5, 6, first=4)]
    assert torch.equal(torch.cat(parts), flip(x, 5, 6))


def test_only_the_last_axis_is_mirrored_in_any_dimension() -> None:
    x = torch.arange(4.0).expand(64, 1, 4)
    rows = {tuple(row) for row in flip(x, 0, 0)[:, 0].tolist()}
    assert rows == {(0.0, 1.0, 2.0, 3.0), (3.0, 2.0, 1.0, 0.0)}
