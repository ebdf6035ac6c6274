"""Flips: half of the samples, by a coin that knows only seed, update and place in the batch."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from inkdrop.data.pictures.augment import Jitter, flip, jitter

NOTHING = Jitter(0, 0, 0, 0, 0, 0, 0, 0)


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


def test_a_jitter_of_nothing_changes_nothing() -> None:
    x = torch.rand(5, 3, 6, 8) * 2 - 1
    torch.testing.assert_close(jitter(x, NOTHING, 0, 0), x)


def test_a_part_of_a_batch_is_jittered_as_the_whole() -> None:
    x = torch.rand(7, 3, 8, 8) * 2 - 1
    whole = jitter(x, Jitter(), 5, 6)
    parts = [jitter(x[:3], Jitter(), 5, 6), jitter(x[3:], Jitter(), 5, 6, first=3)]
    assert torch.equal(torch.cat(parts), whole)
    assert not torch.equal(jitter(x, Jitter(), 5, 7), whole)
    assert whole.abs().max() <= 1


@pytest.mark.parametrize("shape", [(400, 1, 31, 31), (400, 1, 21, 41)])
def test_a_picture_is_turned_and_moved_as_far_as_is_said(shape: tuple[int, ...]) -> None:
    _, _, high, wide = shape
    x = torch.full(shape, -1.0)
    x[:, :, high // 2, wide // 2 - 6 : wide // 2 + 7] = 1.0  # a bar that lies in the middle
    y = (jitter(x, dataclasses.replace(NOTHING, rotation=30.0), 0, 0) + 1) / 2
    rows, columns = torch.meshgrid(torch.arange(high), torch.arange(wide), indexing="ij")
    down, right = rows - high // 2, columns - wide // 2
    mass = y.sum((1, 2, 3))
    xx, yy, xy = ((y[:, 0] * m).sum((1, 2)) / mass for m in (right**2, down**2, right * down))
    angle = torch.atan2(2 * xy, xx - yy).rad2deg() / 2
    assert 25 < angle.max() < 31 and -31 < angle.min() < -25
    assert 16 < angle.std() < 19  # of an even spread, 30 / sqrt 3
    moved = (jitter(x, dataclasses.replace(NOTHING, shift=0.2), 0, 0) + 1) / 2
    centre = (moved[:, 0] * right).sum((1, 2)) / moved.sum((1, 2, 3))
    assert 0.17 * wide < centre.max() < 0.21 * wide


def test_noise_and_colour_have_the_sizes_that_are_said() -> None:
    x = torch.zeros(300, 3, 8, 8)
    noisy = jitter(x, dataclasses.replace(NOTHING, noise=0.3), 0, 0).std((1, 2, 3))
    assert noisy.min() < 0.02 and 0.27 < noisy.max() < 0.34
    tinted = jitter(x, dataclasses.replace(NOTHING, colour=0.3), 0, 0)
    assert torch.equal(tinted, tinted[:, :, :1, :1].expand_as(tinted))
    assert tinted.abs().max() <= 0.3 and 0.15 < tinted[:, :, 0, 0].std() < 0.2
