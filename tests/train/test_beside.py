"""A model trained on data sets side by side uses what it is told, and keeps it with its sample."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny
import torch

from inkdrop.cond import Cond
from inkdrop.data.beside import with_beside
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import defaults
from inkdrop.train.aims.distill import distill
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.aims.latent import train_latent
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Validated
from inkdrop.train.feed import Feed
from inkdrop.train.objective import drop
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn

HERE = World(device=torch.device("cpu"))


def coarse(count: int = 60) -> Dataset:
    """8x8 pictures of 2x2 random blocks: nothing of one block is known from the others."""
    blocks = np.random.default_rng(0).integers(0, 2, (count, 1, 2, 2)) * 255
    pixels = blocks.repeat(4, 2).repeat(4, 3).astype(np.uint8)
    return Dataset("blocks", (1, 8, 8), ArrayStore(pixels), count, "blocks")


def small(data: Dataset) -> dict[str, Any]:
    """The default description with a tiny network that reads the same."""
    usual = defaults.model_description(data, TrainConfig())["network"]
    kept = {name: usual[name] for name in ("num_classes", "concat_channels") if name in usual}
    return {"network": {**tiny.NETWORK, **kept}}


def asked(data: Dataset, **config: Any) -> TrainRequest:
    training = {"updates": 80, "batch": 16, "lr": 3e-3, "warmup": 5, "precision": "float32"}
    return TrainRequest(TrainConfig(**{**training, "ema": 0.9, **config}), model=small(data))


def test_a_model_uses_the_picture_that_it_is_told(tmp_path: Path) -> None:
    data = coarse()
    negative = dataclasses.replace(data, store=ArrayStore(255 - data.store.array))  # type: ignore[attr-defined]
    losses = {}
    for name, one in (("blind", data), ("told", with_beside(data, concat=negative))):
        events = train(
            one, tmp_path / name, asked(one, updates=200, log_noise_mean=1.0), world=HERE
        )
        losses[name] = [e.loss for e in events if isinstance(e, Validated)][-1]
    assert losses["told"] < 0.3 * losses["blind"]
    model = Model.load(own_folder(tmp_path / "told")[0])
    assert model.spec.notes["concat"].startswith("1 channel")
    assert (tmp_path / "told" / "samples" / "final.png").is_file()
    with pytest.raises(ValueError, match="this model also needs a picture"):
        generate(model)
    rows = range(8)
    wanted = Sampling(steps=8, guidance=1.0)
    beside = negative.take(rows)
    for step in generate(model, samples=rows, sampling=wanted, beside=beside):
        x = step.x
    assert float((x.sign() == data.take(rows)).float().mean()) > 0.95


def test_a_student_is_told_what_its_teacher_is(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    both = with_beside(data, concat=data)
    teacher = build_model(defaults.model_description(both, TrainConfig(), small(both)), "teacher")
    config = DistillConfig(steps=2, guidance=2.0)
    request = asked(both, updates=2, condition_drop=0.0)
    request = dataclasses.replace(request, model={})
    list(distill(teacher, both, tmp_path / "student", config, request, world=HERE))
    assert "concat" in Model.load(own_folder(tmp_path / "student")[0]).spec.notes
    with pytest.raises(ValueError, match=r"lacks a condition of the teacher"):
        list(distill(teacher, data, tmp_path / "other", config, request, world=HERE))


def test_pictures_are_flipped_with_their_sample(tmp_path: Path) -> None:
    data = coarse()
    both = with_beside(data, concat=data, hint=data)
    config = TrainConfig(batch=16, flip=True)
    batch = Feed(both, config, HERE.device)(3, range(4, 12))
    plain = Feed(both, dataclasses.replace(config, flip=False), HERE.device)(3, range(4, 12))
    assert not torch.equal(batch.x0, plain.x0)
    assert batch.cond.concat is not None and batch.cond.hint is not None
    assert torch.equal(batch.cond.concat, batch.x0)
    assert torch.equal(2 * batch.cond.hint - 1, batch.x0)


def test_dropping_the_condition_leaves_pictures_alone(tmp_path: Path) -> None:
    model = tiny.model(tiny.data(tmp_path))
    picture, vector = torch.randn(64, 1, 8, 8), torch.randn(64, 3)
    cond = Cond(label=torch.ones(64, dtype=torch.int64), concat=picture, hint=picture)
    cond = dataclasses.replace(cond, vector=vector)
    config = TrainConfig(batch=64, condition_drop=0.5)
    found = drop(model, config, cond, Turn(0, range(64), 8))
    assert found.label is not None and found.label.unique().tolist() == [1, 2]
    for name, value in (("concat", picture), ("hint", picture), ("vector", vector)):
        assert torch.equal(getattr(found, name), value)
    unlabelled = dataclasses.replace(cond, label=None)
    blind = tiny.model(dataclasses.replace(tiny.data(tmp_path), labels=None, label_names=()))
    assert torch.equal(drop(blind, config, unlabelled, Turn(0, range(64), 8)).concat, picture)  # type: ignore[arg-type]


def test_a_run_keeps_to_what_was_beside_its_data(tmp_path: Path) -> None:
    data = coarse()
    both = with_beside(data, concat=data)
    list(train(both, tmp_path / "run", asked(both, updates=2), world=HERE))
    described = json.loads((tmp_path / "run" / "run.json").read_text())["model"]
    assert described["network"]["concat_channels"] == 1
    with pytest.raises(ValueError, match="a run on other data"):
        list(train(data, tmp_path / "run", asked(data, updates=2), world=HERE))


def test_a_latent_model_refuses_pictures_to_join(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    with pytest.raises(ValueError, match="a latent model joins codes"):
        both = with_beside(data, concat=data)
        list(train_latent(both, tmp_path / "run", asked(data), Latents(), world=HERE))
