"""Training with text: what is dropped, an exact resume, and a folder that reads prompts."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch
from safetensors.torch import load_file

from inkdrop.conditioning.tokenizer import Tokenizer, train_tokenizer
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.model import Model, Prompt
from inkdrop.model.folder import build_model
from inkdrop.networks.text import TextEncoder
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.train import defaults
from inkdrop.train.aim import Aim
from inkdrop.train.aims.captions import written
from inkdrop.train.aims.prompted import (
    Drops,
    Ids,
    Joined,
    Prompted,
    TextFeed,
    caption_ids,
    prompted_losses,
)
from inkdrop.train.config import TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
TEXT, DIT = tiny.TEXT, tiny.DIT
JOINT = {**DIT, "text": "joint"}
UNET = {**tiny.NETWORK, "cross_attention_dim": 16}
NETWORKS = pytest.mark.parametrize("network", [DIT, JOINT, UNET], ids=["dit", "joint", "unet"])


def tokenizer() -> Tokenizer:
    return train_tokenizer(["bright above", "bright below"] * 3, 300)


def feed(data: Dataset, config: TrainConfig, device: torch.device, **changes: Any) -> TextFeed:
    return TextFeed(data, config, device, Ids(tokenizer(), 8), written, **changes)


def aim(network: dict[str, Any]) -> Aim:
    def describe(data: Dataset, ask: TrainRequest) -> dict[str, Any]:
        return defaults.model_description(data, ask.config, {"network": network})

    def build(description: Mapping[str, Any], where: str) -> Prompted:
        model = build_model(description, where)
        return Prompted(Joined(model.network, TextEncoder(TEXT)), model, tokenizer())

    return Aim(
        objective=prompted_losses,
        describe=describe,
        build=build,
        picture=lambda trained, held: None,
        feed=feed,
        held=lambda data, config, device: feed(data, config, device).held(),
        record={},
    )


def ask(updates: int) -> TrainRequest:
    return TrainRequest(
        TrainConfig(updates=updates, batch=8, warmup=2, precision="float32"), save_every=99
    )


@NETWORKS
def test_it_resumes_to_the_bit_and_its_folder_reads_prompts(
    tmp_path: Path, network: dict[str, Any]
) -> None:
    data = tiny.captioned(tmp_path)
    list(train(data, tmp_path / "a", ask(6), aim=aim(network), world=World(device=CPU)))
    stop = threading.Event()
    for event in train(
        data, tmp_path / "b", ask(6), aim=aim(network), world=World(device=CPU, stop=stop)
    ):
        if isinstance(event, Update) and event.index == 2:
            stop.set()
    list(train(data, tmp_path / "b", ask(6), aim=aim(network), world=World(device=CPU)))
    for name in ("network", "text"):
        left, right = (
            load_file(own_folder(tmp_path / run)[0] / f"{name}.safetensors") for run in "ab"
        )
        assert all(torch.equal(left[key], right[key]) for key in left)
    model = Model.load(own_folder(tmp_path / "a")[0])
    cond = model.condition(["bright above", Prompt("", "1")])
    assert cond.tokens is not None and cond.label is not None
    assert cond.label.tolist() == [2, 1]


@pytest.mark.parametrize("network", [DIT, UNET], ids=["dit", "unet"])
def test_it_draws_what_the_text_says(tmp_path: Path, network: dict[str, Any]) -> None:
    rng = np.random.default_rng(0)
    light = np.arange(48) % 2 * 140
    np.save(
        tmp_path / "a.npy", (light[:, None, None] + rng.integers(30, 80, (48, 8, 8))).astype("u1")
    )
    data = open_data(tmp_path / "a.npy")
    data = dataclasses.replace(data, captions=("bright below", "bright above") * 24)
    network = {**network, "num_classes": None}
    # A U-Net needs up to four times a transformer's updates before it heeds its text.
    config = TrainConfig(updates=240, batch=16, lr=3e-3, warmup=5, ema=0.9, precision="float32")
    list(
        train(data, tmp_path / "a", TrainRequest(config), aim=aim(network), world=World(device=CPU))
    )
    model = Model.load(own_folder(tmp_path / "a")[0])
    prompts = ["bright above", "bright below"] * 4 + [""]
    x = generate_many(model, count=9, conditions=[Prompt(text) for text in prompts])
    light = x.mean((1, 2, 3))[:8].view(4, 2).mean(0)
    assert float(light[0] - light[1]) > 0.5
    assert bool(x[8].isfinite().all())


@NETWORKS
def test_gradients_reach_the_text_encoder(tmp_path: Path, network: dict[str, Any]) -> None:
    data, config = tiny.captioned(tmp_path), ask(2).config
    description = defaults.model_description(data, config, {"network": network})
    trained = aim(network).build(description, "test")
    for parameter in trained.network.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    batch = feed(data, config, CPU)(0, range(8))
    prompted_losses(trained, config, batch, Turn(0, range(8), 8)).sum().backward()  # type: ignore[arg-type]
    text = trained.network.get_submodule("text")
    assert all(p.grad is not None and bool(p.grad.isfinite().all()) for p in text.parameters())
    embedding = text.get_parameter("embedding.weight").grad
    assert embedding is not None and float(embedding.abs().sum()) > 0


def test_text_and_label_are_dropped_alone_and_together(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    config = TrainConfig(batch=2000)
    drops = Drops(text=0.2, label=0.3, both=0.1)
    batch = feed(data, config, CPU, drops=drops)(0, range(2000))
    assert batch.cond.mask is not None and batch.cond.label is not None
    empty = caption_ids(tokenizer(), [""], 8)[1].sum()
    silent, free = batch.cond.mask.sum(1) == empty, batch.cond.label == 2
    for found, share in (
        (silent & ~free, 0.2), (free & ~silent, 0.3), (silent & free, 0.1), (~silent & ~free, 0.4),
    ):  # fmt: skip
        assert abs(float(found.float().mean()) - share) < 0.04
    part = feed(data, config, CPU, drops=drops)(0, range(500, 700))
    assert torch.equal(part.cond.label, batch.cond.label[500:700])  # type: ignore[arg-type]


def test_captions_are_needed(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no captions"):
        written(tiny.data(tmp_path), 0, np.random.default_rng(0))
