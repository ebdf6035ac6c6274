"""Latent diffusion through all its stages: made once, resumed to the bit, refused in words."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from inkdrop.data.dataset import Dataset
from inkdrop.data.latents import Encoding
from inkdrop.model import Model, Prompt
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.aims.latent import train_latent
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.config import TrainConfig
from inkdrop.train.evaluate import Evaluated, evaluate
from inkdrop.train.evaluation import Evaluation
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
CONFIG = TrainConfig(updates=4, batch=8, warmup=2, precision="float32")
PLAN = Latents(
    factor=2,
    code_channels=2,
    coding=TrainRequest(CONFIG, save_every=99),
    text=True,
    encoder=tiny.TEXT,
)
REUSED = dataclasses.replace(PLAN, factor=None, code_channels=None)
SMALL = {**tiny.DIT, "in_channels": 2, "vector_dim": tiny.TEXT.width, "concat_channels": 2}


def ask() -> TrainRequest:
    return TrainRequest(CONFIG, model={"network": SMALL}, save_every=99)


def weights(run: Path) -> dict[str, torch.Tensor]:
    folder = own_folder(run)[0]
    return {
        f"{name}.{key}": value
        for name in ("network", "text", "codec")
        for key, value in load_file(folder / f"{name}.safetensors").items()
    }


def updates(data: Dataset, out: Path, plan: Latents = PLAN) -> int:
    events = list(train_latent(data, out, ask(), plan, world=World(device=CPU)))
    return sum(isinstance(event, Update) for event in events)


def test_a_run_stopped_in_either_stage_ends_in_the_same_bits(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    assert updates(data, tmp_path / "whole") == 8
    encoded = 0
    for after in (2, 3):
        stop, seen = threading.Event(), 0
        for event in train_latent(
            data, tmp_path / "parts", ask(), PLAN, world=World(device=CPU, stop=stop)
        ):
            encoded += isinstance(event, Encoding)
            seen += isinstance(event, Update)
            if seen == after:
                stop.set()
    updates(data, tmp_path / "parts")
    assert encoded == 1
    left, right = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert left.keys() == right.keys()
    assert all(torch.equal(left[key], right[key]) for key in left)


def test_its_folder_reads_prompts_and_makes_pictures(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    updates(data, tmp_path / "run")
    model = Model.load(own_folder(tmp_path / "run")[0])
    assert model.shape == (2, 4, 4) and model.spec.condition_drop == pytest.approx(0.1)
    x = generate_many(
        model, count=2, conditions=[Prompt("bright above"), "?"], sampling=Sampling(steps=2)
    )
    assert x.shape == (2, *data.shape) and bool(x.isfinite().all())


def test_it_is_known_which_of_its_pictures_it_has_not_seen(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    updates(data, tmp_path / "run")
    quick = TrainRequest(TrainConfig(updates=2, batch=8, condition_drop=0.0))
    asked = Evaluation(count=6, sampling=Sampling(steps=2), training=quick)
    *_, found = evaluate(tmp_path / "run", data, asked, device=CPU)
    assert isinstance(found, Evaluated)
    assert "closer than held-out" in {m.name for m in found.report.measures}


def test_an_autoencoder_is_reused_and_another_refused(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    updates(data, tmp_path / "first")
    reuse = dataclasses.replace(REUSED, autoencoder=tmp_path / "first" / "autoencoder")
    assert updates(data, tmp_path / "second", reuse) == 4
    left, right = weights(tmp_path / "first"), weights(tmp_path / "second")
    assert all(torch.equal(left[key], right[key]) for key in left)
    other = dataclasses.replace(PLAN, coding=TrainRequest(dataclasses.replace(CONFIG, seed=1)))
    updates(data, tmp_path / "other", other)
    wrong = dataclasses.replace(REUSED, autoencoder=tmp_path / "other" / "autoencoder")
    with pytest.raises(ValueError, match="are of another autoencoder"):
        updates(data, tmp_path / "second", wrong)


def test_text_needs_captions_and_labels_do_without(tmp_path: Path) -> None:
    data = tiny.data(tmp_path)
    with pytest.raises(ValueError, match="has no captions"):
        updates(data, tmp_path / "run")
    silent = dataclasses.replace(PLAN, text=False, network="unet")
    plain = TrainRequest(
        CONFIG, model={"network": {**tiny.NETWORK, "in_channels": 2}}, save_every=99
    )
    list(train_latent(data, tmp_path / "run", plain, silent, world=World(device=CPU)))
    model = Model.load(own_folder(tmp_path / "run")[0])
    assert model.spec.labels == ("0", "1") and model.text is None
    with pytest.raises(ValueError, match="no network for latents 'dti'"):
        list(train_latent(
            data, tmp_path / "new", TrainRequest(CONFIG),
            dataclasses.replace(silent, network="dti"), world=World(device=CPU),
        ))  # fmt: skip


def test_pictures_with_other_channels_are_refused(tmp_path: Path) -> None:
    data = tiny.captioned(tmp_path)
    updates(data, tmp_path / "run")
    colour = dataclasses.replace(data, shape=(3, 8, 8), name="colour")
    reuse = dataclasses.replace(REUSED, autoencoder=tmp_path / "run" / "autoencoder")
    with pytest.raises(ValueError, match="colour has 3 channels"):
        updates(colour, tmp_path / "second", reuse)
