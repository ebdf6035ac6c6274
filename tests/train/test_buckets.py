"""One training on pictures of several sizes: whole batches, an exact resume, and that it learns."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from PIL import Image
from safetensors.torch import load_file

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_buckets
from inkdrop.model.folder import build_model
from inkdrop.runs import own_folder
from inkdrop.train import defaults
from inkdrop.train.buckets import BucketFeed, over_buckets
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import Feed
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.updates import Update, start, updates

CPU = torch.device("cpu")
NETWORKS: dict[str, dict[str, Any]] = {
    "dit": {"kind": "dit", "in_channels": 1, "width": 16, "depth": 1, "heads": 2, "num_classes": 2},
    "unet": tiny.NETWORK,
}


@pytest.fixture
def parts(tmp_path: Path) -> tuple[Dataset, ...]:
    """Pictures of three shapes, bright above or below; the picture's number is its noise."""
    rng = np.random.default_rng(0)
    for number in range(44):
        size = ((8, 8), (6, 10), (10, 6))[number % 3 if number < 30 else 0]
        pixels = rng.integers(0, 60, size)
        half = pixels[: size[0] // 2] if number % 2 else pixels[size[0] // 2 :]
        half += 180
        folder = tmp_path / "data" / ("below", "above")[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels.astype(np.uint8)).save(folder / f"{number:02d}.png")
    return open_buckets(tmp_path / "data", size=8, multiple=2)


def ask(parts: Sequence[Dataset], kind: str, count: int = 6) -> TrainRequest:
    config = TrainConfig(updates=count, batch=4, warmup=2, precision="float32", flip=True)
    return TrainRequest(config, model={"network": NETWORKS[kind]}, save_every=99)


@pytest.mark.parametrize("kind", NETWORKS)
def test_it_resumes_to_the_bit(tmp_path: Path, parts: tuple[Dataset, ...], kind: str) -> None:
    assert {part.shape for part in parts} == {(1, 8, 8), (1, 6, 10), (1, 10, 6)}
    data, aim = over_buckets(parts)
    assert data.shape == (1, 8, 8)
    list(train(data, tmp_path / "a", ask(parts, kind), aim=aim, world=World(device=CPU)))
    stop = threading.Event()
    for event in train(
        data, tmp_path / "b", ask(parts, kind), aim=aim, world=World(device=CPU, stop=stop)
    ):
        if isinstance(event, Update) and event.index == 2:
            stop.set()
    list(train(data, tmp_path / "b", ask(parts, kind), aim=aim, world=World(device=CPU)))
    left, right = (load_file(own_folder(tmp_path / r)[0] / "network.safetensors") for r in "ab")
    assert all(torch.equal(left[key], right[key]) for key in left)
    with pytest.raises(ValueError, match="was started with buckets"):
        data, aim = over_buckets(parts[1:])
        list(train(data, tmp_path / "a", ask(parts, kind), aim=aim, world=World(device=CPU)))


def test_every_picture_is_drawn_once_an_epoch_and_batches_have_one_size(
    parts: tuple[Dataset, ...],
) -> None:
    config = TrainConfig(batch=4)
    counts = tuple(map(len, parts))
    feed = BucketFeed(tuple(Feed(part, config, CPU) for part in parts), counts, config)
    epochs = 4  # of all pictures: batches of 4 then divide every bucket's
    seen: dict[bytes, int] = {}
    for update in range(sum(counts) * epochs // 4):
        x = feed(update, range(4)).x0
        assert torch.equal(feed(update, range(1, 3)).x0, x[1:3])
        for picture in x:
            name = picture.numpy().tobytes()
            seen[name] = seen.get(name, 0) + 1
    assert len(seen) == sum(counts) and set(seen.values()) == {epochs}


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_loss_falls_in_every_size(parts: tuple[Dataset, ...], kind: str) -> None:
    torch.manual_seed(0)
    config = dataclasses.replace(ask(parts, kind, 150).config, batch=8, lr=3e-3)
    main, _ = over_buckets(parts)
    model = build_model(
        defaults.model_description(main, config, {"network": NETWORKS[kind]}), "test"
    )
    counts = tuple(map(len, parts))
    feed = BucketFeed(tuple(Feed(part, config, CPU) for part in parts), counts, config)
    found: dict[tuple[int, ...], list[float]] = {}
    for update in updates(model, feed, config, start(model, config)):
        size = tuple(feed(update.index, range(1)).x0.shape[2:])
        found.setdefault(size, []).append(update.loss)
    assert len(found) == 3
    for losses in found.values():
        assert np.mean(losses[-8:]) < 0.85 * np.mean(losses[:4])


def test_the_held_out_part_is_not_trained_on(parts: tuple[Dataset, ...]) -> None:
    data, aim = over_buckets(parts)
    kept = data.subset(range(len(data) - 2))
    feed = aim.feed(kept, TrainConfig(batch=4), CPU)
    assert isinstance(feed, BucketFeed)
    assert sorted(feed.counts) == sorted([len(p) for p in parts if p is not data] + [len(kept)])


def test_bad_input(parts: tuple[Dataset, ...]) -> None:
    with pytest.raises(ValueError, match="no buckets to train on"):
        over_buckets([])
    other = dataclasses.replace(parts[0], label_names=("x", "y"))
    with pytest.raises(ValueError, match="differ in channels or labels"):
        over_buckets([other, *parts[1:]])
