"""Which caption of a picture training reads."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
import tiny
import torch

from inkdrop.cond import Cond
from inkdrop.data.dataset import Dataset
from inkdrop.train.aims.captions import written
from inkdrop.train.aims.prompted import Drops, TextFeed
from inkdrop.train.config import TrainConfig


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    one = tiny.data(tmp_path, count=2)
    return dataclasses.replace(one, captions=("a", "z"), several=(("a", "b", "c"), ("z",)))


def read(data: Dataset, updates: range, rows: range) -> list[str]:
    """The captions that these rows of these updates get, of batches of 4."""
    texts = list[str]()

    def reader(captions: Sequence[str]) -> Cond:
        texts.extend(captions)
        return Cond(tokens=torch.zeros(len(captions), 1, 4), mask=torch.ones(len(captions), 1))

    feed = TextFeed(
        data, TrainConfig(batch=4), torch.device("cpu"), reader, written, Drops(0, 0, 0)
    )
    for update in updates:
        feed(update, rows)
    return texts


def test_each_caption_of_a_list_is_drawn_about_as_often(data: Dataset) -> None:
    counts = Counter(read(data, range(150), range(4)))
    assert counts["z"] == 300 and sum(counts.values()) == 600
    # 300 draws of 3: the standard deviation of each count is 8.2
    assert all(abs(counts[text] - 100) < 40 for text in "abc")


def test_a_draw_depends_on_the_update_and_the_row_alone(data: Dataset) -> None:
    whole = read(data, range(4, 12), range(4))
    halves = [read(data, range(4, 12), rows) for rows in (range(2), range(2, 4))]
    parts = [half[i : i + 2] for i in range(0, 16, 2) for half in halves]
    assert whole == [text for part in parts for text in part]
    assert read(data, range(8, 12), range(4)) == whole[16:]


def test_one_caption_takes_no_draw(data: Dataset) -> None:
    single = dataclasses.replace(data, several=None)
    assert set(read(single, range(10), range(4))) == {"a", "z"}
    with pytest.raises(ValueError, match="has no captions"):
        read(dataclasses.replace(single, captions=None), range(1), range(1))
