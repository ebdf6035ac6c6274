"""Training a judge: exact resume, several heads, unknown labels, a target of its own."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.open import open_data
from inkdrop.data.pictures.augment import Jitter
from inkdrop.evaluate.judge import UNKNOWN, JudgeConfig, accuracy
from inkdrop.events import Note
from inkdrop.runs import own_folder
from inkdrop.train.aims.judge import (
    Head,
    JudgeFeed,
    load_judge,
    own_heads,
    shape_for,
    train_judge,
    turns,
)
from inkdrop.train.config import TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

CPU = torch.device("cpu")


def small(heads: dict[str, tuple[str, ...]]) -> JudgeConfig:
    return JudgeConfig(heads, channels=1, widths=(8, 8), features=8, norm_groups=4)


def ask(updates: int, **config: float) -> TrainRequest:
    return TrainRequest(
        TrainConfig(
            **{"updates": updates, "batch": 8, "warmup": 2, "precision": "float32", **config}  # type: ignore[arg-type]
        )
    )


def test_it_resumes_to_the_bit(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    shape = small({"label": data.label_names})
    list(train_judge(data, tmp_path / "a", shape=shape, request=ask(8), world=World(device=CPU)))
    stop = threading.Event()
    for event in train_judge(
        data, tmp_path / "b", shape=shape, request=ask(8), world=World(device=CPU, stop=stop)
    ):
        if isinstance(event, Update) and event.index == 3:
            stop.set()
    list(train_judge(data, tmp_path / "b", shape=shape, request=ask(8), world=World(device=CPU)))
    files = (own_folder(tmp_path / name)[0] / "network.safetensors" for name in "ab")
    left, right = (load_file(file) for file in files)
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert load_judge(tmp_path / "a").fingerprint == load_judge(tmp_path / "b").fingerprint


def test_it_tells_held_out_digits_apart_and_says_so(tmp_path: Path) -> None:
    data = open_data("digits")
    assert data.labels is not None
    even = np.where(data.labels == 9, UNKNOWN, data.labels % 2)  # of nines nobody knows it
    heads = {"digit": Head(data.labels, data.label_names), "even": Head(even, ("yes", "no"))}
    shape = JudgeConfig(
        {name: head.names for name, head in heads.items()},
        channels=1, widths=(16, 32), features=16, norm_groups=4,
    )  # fmt: skip
    slight = Jitter(shift=0.05, rotation=5, blur=0.3)
    *_, last = train_judge(
        data, tmp_path / "run", heads, shape, slight, ask(250, batch=32, lr=4e-3, ema=0.98)
    )
    assert isinstance(last, Note) and last.text.startswith("right on 89 held-out pictures: digit 9")
    judge = load_judge(tmp_path / "run")
    x = data.take(range(500))
    labels = {name: torch.from_numpy(head.labels[:500]) for name, head in heads.items()}
    found = accuracy(judge, [(x[:300], {n: v[:300] for n, v in labels.items()}),
                             (x[300:], {n: v[300:] for n, v in labels.items()})])  # fmt: skip
    with torch.no_grad():
        said = judge(x)
    known = labels["even"] != UNKNOWN
    by_hand = float((said["even"].argmax(1) == labels["even"])[known].double().mean())
    assert found["even"] == pytest.approx(by_hand) and found["digit"] > 0.9
    assert accuracy(judge, [(x, labels)], k=10)["digit"] == 1


def test_without_labels_it_learns_which_way_up(tmp_path: Path) -> None:
    data = dataclasses.replace(tiny.data(tmp_path), labels=None, label_names=())
    assert own_heads(data) is None
    feed = JudgeFeed(data, TrainConfig(batch=16), CPU, None, Jitter())
    whole, part = feed(3, range(16)), feed(3, range(4, 9))
    assert torch.equal(whole.x0[4:9], part.x0)
    assert torch.equal(whole.labels["turned"][4:9], part.labels["turned"])
    held = feed.held()(range(8))
    for i, picture in enumerate(held.x0):
        assert torch.equal(picture, data.take([i])[0].rot90(i % 4, (1, 2)))
    shape = small({"turned": turns(data)})
    list(train_judge(data, tmp_path / "run", shape=shape, request=ask(4), world=World(device=CPU)))
    assert load_judge(tmp_path / "run").config == shape


def test_pictures_that_are_not_square_are_turned_upside_down() -> None:
    store = ArrayStore(np.random.default_rng(0).integers(0, 255, (6, 1, 4, 8)).astype(np.uint8))
    wide = Dataset("wide", (1, 4, 8), store, 6, "wide")
    batch = JudgeFeed(wide, TrainConfig(), CPU, None, Jitter()).held()(range(4))
    assert torch.equal(batch.x0[1], wide.take([1])[0].flip(1, 2))
    assert turns(wide) == ("0", "180")


def test_the_shape_suits_the_pictures(tmp_path: Path) -> None:
    heads = {"label": ("a", "b")}
    assert shape_for(tiny.data(tmp_path), heads).widths == (32, 64)
    store = ArrayStore(np.zeros((2, 3, 128, 128), np.uint8))
    large = shape_for(Dataset("large", (3, 128, 128), store, 2, ""), heads)
    assert (large.patch, large.widths, large.channels) == (4, (32, 64, 128), 3)


def test_bad_input(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    for labels in (np.zeros(5, np.int64), np.full(48, 2), np.full(48, -1)):
        with pytest.raises(ValueError, match=r"head 'a' has \d+ labels for 48 pictures"):
            list(train_judge(data, tmp_path / "x", {"a": Head(labels, ("x", "y"))}))
    with pytest.raises(ValueError, match="the judge has heads other for 1 channels, but the data"):
        list(train_judge(data, tmp_path / "x", shape=small({"other": ("a", "b")})))
    with pytest.raises(ValueError, match="blur is 2"):
        Jitter(blur=2)
    with pytest.raises(ValueError, match="there is no model folder or run"):
        load_judge(tmp_path / "x")
