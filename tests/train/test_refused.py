"""What cannot start leaves nothing behind, so the corrected command starts as the first one would.

Every aim is refused here for something that shows only at its first update.
"""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import tiny
import torch

from inkdrop import runs
from inkdrop.data.dataset import Dataset
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.train.aims.autoencoder import train_autoencoder
from inkdrop.train.aims.distill import distill
from inkdrop.train.aims.distill_config import DistillConfig
from inkdrop.train.aims.judge import train_judge
from inkdrop.train.aims.latent import train_latent
from inkdrop.train.aims.latent_config import Latents
from inkdrop.train.aims.tiny import train_tiny
from inkdrop.train.config import TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.updates import Update

WORLD = World(device=torch.device("cpu"))
CODE = AutoencoderConfig(
    channels=1, latent_channels=2, width=8, multipliers=(1,), blocks=1, norm_groups=4
)
LATENTS = Latents(
    factor=2,
    code_channels=2,
    coding=tiny.ask(updates=2),
    text=True,
    encoder=tiny.TEXT,
)
SMALL = {**tiny.DIT, "in_channels": 2, "vector_dim": tiny.TEXT.width, "concat_channels": 2}

Start = Callable[[Dataset, Path, TrainRequest], Iterator[object]]


def diffusion(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    return train(data, out, asked, world=WORLD)


def autoencoder(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    return train_autoencoder(data, out, CODE, request=asked, world=WORLD)


def follower(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    return train_tiny(Autoencoder(CODE), data, out, request=asked, world=WORLD)


def judge(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    return train_judge(data, out, request=asked, world=WORLD)


def latent(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    asked = dataclasses.replace(asked, model={"network": SMALL})
    return train_latent(data, out, asked, LATENTS, world=WORLD)


def student(data: Dataset, out: Path, asked: TrainRequest) -> Iterator[object]:
    teacher = tiny.model(data, condition_drop=0.0)
    return distill(teacher, data, out, DistillConfig(steps=2), asked, world=WORLD)


@pytest.mark.parametrize("start", [diffusion, autoencoder, follower, judge, latent, student])
def test_no_aim_writes_before_its_first_update(tmp_path: Path, start: Start) -> None:
    data, out = tiny.captioned(tmp_path), tmp_path / "out" / "run"
    with pytest.raises(ValueError, match="accumulate is 3: it does not divide the batch of 8"):
        list(start(data, out, tiny.ask(updates=2, accumulate=3)))
    assert not out.parent.exists()
    events = list(start(data, out, tiny.ask(updates=2, accumulate=4)))
    assert any(isinstance(event, Update) for event in events)


@pytest.mark.parametrize("codes", [False, True])
def test_a_loss_that_does_not_fit_the_process_is_refused_first(tmp_path: Path, codes: bool) -> None:
    network = {**(SMALL if codes else tiny.NETWORK), "out_channels": 4 if codes else 2}
    asked = dataclasses.replace(
        tiny.ask(loss="hybrid", times="uniform"),
        model={"network": network, "process": {"kind": "flow"}},
    )
    data, out = tiny.captioned(tmp_path), tmp_path / "run"
    begun = (
        train_latent(data, out, asked, LATENTS, world=WORLD)
        if codes
        else train(data, out, asked, world=WORLD)
    )
    with pytest.raises(ValueError, match="needs a discrete table"):
        list(begun)
    assert not out.exists()


@pytest.mark.parametrize("kind", ["eps", "score"])
def test_a_prediction_that_sampling_cannot_start_from_is_refused_first(
    tmp_path: Path, kind: str
) -> None:
    changes = {"process": {"kind": "flow"}, "parameterization": {"kind": kind}}
    asked = dataclasses.replace(tiny.ask(), model={"network": tiny.NETWORK, **changes})
    with pytest.raises(ValueError, match="x_0 cannot be recovered from"):
        list(train(tiny.data(tmp_path), tmp_path / "run", asked, world=WORLD))
    assert not (tmp_path / "run").exists()


def test_a_hybrid_loss_trains_codes_too(tmp_path: Path) -> None:
    plan = dataclasses.replace(LATENTS, text=False, encoder=None)
    asked = TrainRequest(TrainConfig(updates=1, batch=2, loss="hybrid", times="uniform"))
    events = train_latent(tiny.data(tmp_path), tmp_path / "run", asked, plan, world=WORLD)
    assert any(isinstance(event, Update) and event.total == 1 for event in events)
    stored = json.loads((tmp_path / "run" / "run.json").read_text())["model"]
    assert stored["spec"]["learned_variance"] and stored["network"]["out_channels"] == 4


def test_a_run_without_a_checkpoint_takes_another_request(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    begun = train(data, out, tiny.ask(), world=WORLD)
    for event in begun:
        if isinstance(event, Update):
            break
    begun.close()
    assert (out / "run.json").is_file() and not runs.checkpoints(out)
    events = list(train(data, out, tiny.ask(batch=4), world=WORLD))
    assert sum(isinstance(event, Update) for event in events) == 8
    assert json.loads((out / "run.json").read_text())["config"]["batch"] == 4
    log = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [line["update"] for line in log if "lr" in line] == [1, 2, 3, 4, 5, 6, 7, 8]
    with pytest.raises(ValueError, match="was started with batch 4, not 8"):
        list(train(data, out, tiny.ask(), world=WORLD))


@pytest.mark.parametrize("other", ["data", "request", "kind"])
def test_a_latent_training_refuses_another_run_before_its_autoencoder(
    tmp_path: Path, other: str
) -> None:
    data, out = tiny.captioned(tmp_path), tmp_path / "run"
    if other == "kind":
        list(train(data, out, tiny.ask(updates=2), world=WORLD))
    else:
        list(latent(data, out, tiny.ask(updates=2)))
    before = sorted(str(path) for path in out.rglob("*"))
    asked = tiny.ask(updates=2, lr=0.5) if other == "request" else tiny.ask(updates=2)
    if other == "data":
        data = dataclasses.replace(data, fingerprint="another")
    with pytest.raises(ValueError, match="started with lr" if other == "request" else "other data"):
        list(latent(data, out, asked))
    assert sorted(str(path) for path in out.rglob("*")) == before


def test_a_run_whose_data_has_moved_knows_where_it_is(tmp_path: Path) -> None:
    data, out = tiny.data(tmp_path), tmp_path / "run"
    for place in ("here", "there"):
        asked = dataclasses.replace(tiny.ask(updates=2), source={"path": place})
        list(train(data, out, asked, world=WORLD))
    assert json.loads((out / "run.json").read_text())["source"] == {"path": "there"}


def test_processes_that_cannot_share_a_batch_leave_nothing(tmp_path: Path) -> None:
    tiny.data(tmp_path)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    asked = ["-m", "inkdrop", "train", "tiny.npz", "--width", "8", "--batch", "7"]
    failed = subprocess.run(
        [*launch, *asked],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert failed.returncode != 0
    assert "inkdrop: batch is 7: it does not divide among 2 processes" in failed.stderr
    assert not (tmp_path / "runs").exists()
