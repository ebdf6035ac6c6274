"""inkdrop's default training on Fashion-MNIST, timed for time to quality, with snapshots."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.training.clock import Clock
from inkdrop import runs
from inkdrop.data.open import open_data
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import checkpoint, defaults
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import Feed
from inkdrop.train.updates import State, start, updates

CPU = torch.device("cpu")


@dataclasses.dataclass
class Ours:
    """A training that can be stopped at any time and resumes from its last checkpoint."""

    folder: Path
    config: TrainConfig
    model: Model
    state: State
    feed: Feed
    clock: Clock

    def save(self) -> None:
        """Saves a checkpoint, and then the clock beside it."""
        path = checkpoint.save(self.folder / "checkpoints", self.model, self.state)
        note = {"cpu": self.clock.cpu, "wall": self.clock.wall, "update": self.state.update}
        (self.folder / f"clock-{path.name}.json").write_text(json.dumps(note))

    def snapshot(self, minutes: float) -> None:
        """Saves the current averaged weights as a model folder."""
        target = self.folder / f"at-{minutes:g}"
        if not target.exists():
            dataclasses.replace(self.model, network=_averaged(self.model, self.state)).save(target)
            note = {
                "minutes": self.clock.minutes,
                "wall_minutes": self.clock.wall / 60,
                "step": self.state.update,
            }
            (self.folder / f"at-{minutes:g}.json").write_text(json.dumps(note))


def _averaged(model: Model, state: State) -> torch.nn.Module:
    twin = build_model(model.describe(), "the model").network
    twin.load_state_dict(state.ema)
    return twin


def prepare(folder: Path, data: Path, minutes: float) -> Ours:
    """The run in `folder`, resumed or new; only a new run measures how many updates fit."""
    pictures = open_data(data)
    plan = folder / "plan.json"
    description = defaults.model_description(pictures, TrainConfig())
    if not plan.exists():
        folder.mkdir(parents=True, exist_ok=True)
        trial = TrainConfig(updates=24)
        clock = Clock()
        torch.manual_seed(0)
        model = build_model(description, "the model")
        steps = updates(model, Feed(pictures, trial, CPU), trial, start(model, trial))
        for _ in range(4):
            next(steps)
        with clock:
            for _ in steps:
                pass
        plan.write_text(json.dumps({"updates": round(minutes * 60 / (clock.cpu / 20))}))
    config = TrainConfig(updates=json.loads(plan.read_text())["updates"])
    torch.manual_seed(config.seed)
    model = build_model(description, "the model")
    run = Ours(folder, config, model, start(model, config), Feed(pictures, config, CPU), Clock())
    newest, _ = runs.newest_checkpoint(folder)
    if newest is not None:
        checkpoint.load(newest, run.state)
        note = json.loads((folder / f"clock-{newest.name}.json").read_text())
        run.clock.cpu, run.clock.wall = note["cpu"], note["wall"]
    return run


def train(folder: Path, data: Path, minutes: float, snapshots: Sequence[float]) -> Ours:
    """Trains to the end of the plan, where the last snapshot is taken."""
    run = prepare(folder, data, minutes)
    left = [m for m in snapshots if m > run.clock.minutes]
    saved = time.time()
    steps = updates(run.model, run.feed, run.config, run.state)
    while True:
        with run.clock:
            update = next(steps, None)
        if update is None:
            break
        while len(left) > 1 and run.clock.minutes >= left[0]:
            run.snapshot(left.pop(0))
        if time.time() - saved > 120:
            run.save()
            saved = time.time()
            said = f"{run.clock.minutes:.2f} min, wall {run.clock.wall / 60:.2f}"
            print(f"inkdrop: {said}, update {update.index}, loss {update.loss:.4f}", flush=True)
    run.save()
    run.snapshot(snapshots[-1])
    return run


def sample(model: Model, n: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures [n, 1, 28, 28] by DDIM-50 at guidance 1, and their balanced requested labels."""
    label = torch.arange(n) % 10
    ask = Sampling(sampler="ddim", grid="uniform", steps=50, guidance=1.0)
    labels = label.tolist()
    x = generate_many(model, seed=777, count=n, conditions=labels, batch=100, sampling=ask)
    return x, label
