"""Batches read ahead: in their order, in one thread, with errors where they belong."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from PIL import Image

from inkdrop import runs
from inkdrop.data import dataset
from inkdrop.data.open import open_data
from inkdrop.train.ahead import DEPTH, Ahead
from inkdrop.train.feed import Feed
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World
from inkdrop.train.run import train
from inkdrop.train.updates import Update, turns

CPU = torch.device("cpu")
WORLD = World(device=CPU)


class Told:
    """A feed that keeps what it was asked for, and fails at one update."""

    def __init__(self, fails: int = -1) -> None:
        self.asked, self.fails = list[int](), fails
        self.threads = set[int]()

    def __call__(self, update: int, rows: range) -> Batch:
        self.asked.append(update)
        self.threads.add(threading.get_ident())
        if update == self.fails:
            raise ValueError(f"a.png of update {update} is damaged")
        return Batch(torch.full((len(rows),), float(update)))


def test_batches_come_in_order_and_few_are_ahead() -> None:
    feed, rows = Told(), range(2)
    with Ahead(feed, iter([(update, rows) for update in range(20)])) as read:
        for update in range(20):
            assert float(read(update, rows).x0[0]) == update
            assert len(feed.asked) <= update + 1 + DEPTH
    assert feed.asked == list(range(20))
    assert len(feed.threads) == 1 and threading.get_ident() not in feed.threads


def test_an_error_comes_with_its_batch_and_the_thread_ends() -> None:
    before, rows = threading.active_count(), range(1)
    with (
        pytest.raises(ValueError, match=r"a\.png of update 3 is damaged"),
        Ahead(Told(fails=3), iter([(update, rows) for update in range(9)])) as read,
    ):
        for update in range(9):
            read(update, rows)
            assert update < 3
    assert threading.active_count() == before
    with (
        pytest.raises(ValueError, match="was not due"),
        Ahead(Told(), iter([(0, rows)])) as read,
    ):
        read(1, rows)


def test_they_are_those_of_the_feed_to_the_bit(tmp_path: Path) -> None:
    data, config = tiny.data(tmp_path), tiny.ask(accumulate=2, flip=True).config
    feed = Feed(data, config, CPU)
    with Ahead(feed, turns(config, WORLD, 3)) as read:
        for update, rows in turns(config, WORLD, 3):
            one, other = read(update, rows), feed(update, rows)
            assert torch.equal(one.x0, other.x0)
            assert one.cond.label is not None and other.cond.label is not None
            assert torch.equal(one.cond.label, other.cond.label)


def test_a_picture_lost_during_training_is_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset, "CACHE_BYTES", 0)  # every use reads the file
    folder = tmp_path / "photos"
    folder.mkdir()
    for i in range(12):
        pixels = np.random.default_rng(i).integers(0, 256, (8, 8), np.uint8)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    data, before, seen = open_data(folder), threading.active_count(), 0
    asked = dataclasses.replace(
        tiny.ask(batch=1, updates=50), model={"network": {**tiny.NETWORK, "num_classes": None}}
    )
    with pytest.raises(ValueError, match=r"07\.png"):
        for event in train(data, tmp_path / "run", asked, world=WORLD):
            seen += isinstance(event, Update)
            if seen == 5 and (folder / "07.png").exists():
                (folder / "07.png").unlink()
    assert 5 <= seen <= 5 + 24  # at the latest at the end of the next epoch
    assert threading.active_count() == before
    assert runs.newest_checkpoint(tmp_path / "run")[0] is not None
