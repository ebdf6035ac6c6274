"""The order of data: every picture once an epoch, and a function of nothing but its arguments."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from inkdrop.data.order import batch_indices, bucket_turn, epoch_order, words


def test_an_epoch_holds_each_exactly_once() -> None:
    for epoch in range(5):
        assert sorted(epoch_order(100, 7, epoch).tolist()) == list(range(100))


def test_seeds_and_epochs_differ() -> None:
    orders = {tuple(epoch_order(50, seed, epoch)) for seed in (0, 1, -1) for epoch in range(3)}
    assert len(orders) == 9


def test_the_order_is_the_same_everywhere_and_for_ever() -> None:
    assert epoch_order(8, 0, 0).tolist() == [7, 4, 2, 6, 5, 0, 1, 3]
    assert epoch_order(8, 7, 3).tolist() == [6, 4, 0, 2, 5, 3, 1, 7]


def test_positions_are_spread_evenly() -> None:
    counts = np.zeros((4, 4))
    for epoch in range(2000):
        counts[np.arange(4), epoch_order(4, 1, epoch)] += 1
    assert np.abs(counts - 500).max() < 100  # 5 sigma


@settings(deadline=None, max_examples=50)
@given(n=st.integers(1, 30), batch=st.integers(1, 70), seed=st.integers(0, 2**64))
def test_batches_laid_end_to_end_are_the_epochs(n: int, batch: int, seed: int) -> None:
    batches = [batch_indices(n, batch, seed, update) for update in range(4)]
    assert all(len(indices) == batch for indices in batches)
    stream = np.concatenate([epoch_order(n, seed, epoch) for epoch in range(4 * batch // n + 1)])
    assert np.array_equal(np.concatenate(batches), stream[: 4 * batch])


def test_what_was_asked_before_does_not_matter() -> None:
    late = batch_indices(10, 4, 3, 1000)
    for update in (0, 5, 999):
        batch_indices(10, 4, 3, update)[:] = -1  # nor what is done to an answer
    assert np.array_equal(batch_indices(10, 4, 3, 1000), late)


@settings(deadline=None, max_examples=50)
@given(
    counts=st.lists(st.integers(1, 40), min_size=1, max_size=5),
    batch=st.integers(1, 50),
    seed=st.integers(0, 2**64),
)
def test_buckets_take_turns_as_their_pictures_are_many(
    counts: list[int], batch: int, seed: int
) -> None:
    pairs = [bucket_turn(counts, batch, seed, update) for update in range(60)]
    for bucket, count in enumerate(counts):
        turns = sorted(turn for b, turn in pairs if b == bucket)
        # what was had by whole epochs of all, and some of the epoch that is not over
        epochs = 60 * batch / sum(counts)
        assert len(set(turns)) == len(turns)
        assert abs(len(turns) - epochs * count / batch) <= count / batch + len(counts)
    late = bucket_turn(counts, batch, seed, 59)
    assert late == pairs[59]


def test_every_picture_of_every_bucket_is_drawn_once_an_epoch() -> None:
    counts, batch = (24, 9, 2), 5  # 7 epochs are 24 * 7 // 5 + 9 * 7 // 5 + 2 * 7 // 5 updates
    seen: dict[int, list[int]] = {0: [], 1: [], 2: []}
    turns = [24 * 35 // 5, 9 * 35 // 5, 2 * 35 // 5]
    pairs = [bucket_turn(counts, batch, 3, update) for update in range(sum(turns))]
    for bucket, turn in sorted(pairs):
        seen[bucket] += batch_indices(counts[bucket], batch, 3, turn).tolist()
    for bucket, count in enumerate(counts):
        assert [len(seen[bucket]) / count] == [35]
        for epoch in range(35):
            part = seen[bucket][epoch * count : (epoch + 1) * count]
            assert sorted(part) == list(range(count))
    assert len({bucket for bucket, _ in pairs[:10]}) > 1, "buckets take turns within an epoch"


@pytest.mark.parametrize("bad", [((), 4, 0), ((3, 0), 4, 0), ((3,), 0, 0), ((3,), 4, -1)])
def test_nonsense_of_buckets_is_refused(bad: tuple[tuple[int, ...], int, int]) -> None:
    counts, batch, update = bad
    with pytest.raises(ValueError, match=r"buckets need samples in each"):
        bucket_turn(counts, batch, 0, update)


def test_purposes_do_not_share_words() -> None:
    assert not np.intersect1d(words(100, 0, 0, purpose=1), words(100, 0, 0, purpose=2)).size


@pytest.mark.parametrize("bad", [(0, 4, 0), (4, 0, 0), (4, 4, -1)])
def test_nonsense_is_refused(bad: tuple[int, int, int]) -> None:
    n, batch, update = bad
    with pytest.raises(ValueError, match=r"a batch needs"):
        batch_indices(n, batch, 0, update)
    with pytest.raises(ValueError, match=r"an order needs"):
        epoch_order(0, 0, 0)
