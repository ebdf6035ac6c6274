"""The files of a run: its log, and when to write checkpoints, validate and draw previews."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inkdrop.config import dump
from inkdrop.events import Note
from inkdrop.files import clear_leftovers, replacing
from inkdrop.media.sheet import save_image
from inkdrop.train import checkpoint
from inkdrop.train.aim import Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Event, Pictured, Saved, Validated
from inkdrop.train.feed import HeldOut
from inkdrop.train.objective import Trained, with_network
from inkdrop.train.parallel import World
from inkdrop.train.plan import Plan
from inkdrop.train.updates import State, Update, validation_loss

SAVE_SECONDS = 120.0
PREVIEWS = 10


@dataclass(frozen=True)
class Keeping:
    """The folder of a training run, and what is written to it once the first update is done.

    model: what is trained, with an unsharded network that a full state dict can be loaded into
    held: the held-out data, if there is any
    save_every: updates between checkpoints; None: one every two minutes
    """

    out: Path
    plan: Plan
    model: Trained
    state: State
    aim: Aim
    held: HeldOut | None
    world: World
    save_every: int | None

    @property
    def config(self) -> TrainConfig:
        """How to train."""
        return self.plan.config

    def begin(self, since: int) -> None:
        """Writes run.json, and removes what a killed run left after the update `since`."""
        if not self.world.main:
            return
        self.plan.write(self.out)
        for folder in (self.out, self.out / "checkpoints", self.out / "samples"):
            if folder.is_dir():
                clear_leftovers(folder)
        log = self.out / "metrics.jsonl"
        if log.is_file():
            with replacing(log) as beside:
                beside.write_text("".join(_logged(log, since)), encoding="utf-8")

    def loop(self, steps: Iterator[Update]) -> Iterator[Event]:
        """The updates, with checkpoints, validation and pictures between them."""
        saved, began = time.monotonic(), time.monotonic()
        try:
            for update in self._begun(steps):
                self.log(
                    update=update.index + 1, **_entry(update), seconds=time.monotonic() - began
                )
                yield update
                done = self.state.update
                leave = self.world.agree(self.world.stop.is_set())
                if done % max(1, self.config.updates // PREVIEWS) == 0 and not leave:
                    yield from self.look(f"{done:08d}")
                if done == self.config.updates or leave or self._due(saved):
                    yield from self.save()
                    saved = time.monotonic()
                if leave:
                    yield Note(f"stopped after update {done:,}; the same command goes on from here")
                    return
        except FloatingPointError:
            yield from self.save()
            raise
        # Only the main process writes pictures, so what it finds decides for all processes.
        if self.world.agree(self.world.main and not (self.out / "samples" / "final.png").is_file()):
            yield from self.look("final")

    def _begun(self, steps: Iterator[Update]) -> Iterator[Update]:
        """The updates; the folder is first written to when one of them is done."""
        since = self.state.update
        first = list(islice(steps, 1))
        self.begin(since)
        return chain(first, steps)

    def _due(self, saved: float) -> bool:
        """Whether a checkpoint is due, if the last one was made at time `saved`."""
        if self.save_every is not None:
            return self.state.update % self.save_every == 0
        # Clocks differ between processes: all of them save as soon as one is due.
        return self.world.agree(time.monotonic() - saved > SAVE_SECONDS)

    def save(self) -> Iterator[Event]:
        """Saves a checkpoint: all processes take part in gathering it, the main one writes it."""
        kept = checkpoint.gathered(self.state, self.world)
        if self.world.main:
            model = self._averaged(kept.average)
            yield Saved(checkpoint.save(self.out / "checkpoints", model, kept))
        self.world.wait()

    def look(self, name: str) -> Iterator[Event]:
        """Validates and draws a preview with the averaged weights, in the main process only.

        When training is sharded, that process meanwhile holds the full network beside its shard.
        """
        average = self.world.whole(self.state.ema)
        if self.world.main:
            model = self._averaged(average)
            if self.held is not None:
                count = len(self.held.data)
                loss = validation_loss(model, self.config, self.held, count, self.aim.objective)
                self.log(update=self.state.update, validation=loss)
                yield Validated(self.state.update, loss)
            with torch.no_grad():
                picture = self.aim.picture(model, self.held)
            if picture is not None:
                path = self.out / "samples" / f"{name}.png"
                save_image(picture, path)
                yield Pictured(path)
        self.world.wait()

    def _averaged(self, average: dict[str, Tensor]) -> Trained:
        """A copy of the model with the averaged weights."""
        network: nn.Module = copy.deepcopy(self.model.network).to(self.world.device)
        network.load_state_dict(average)
        return with_network(self.model, network.eval().requires_grad_(False))

    def log(self, **entry: Any) -> None:
        """Appends one line to metrics.jsonl."""
        if self.world.main:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _logged(log: Path, since: int) -> Iterator[str]:
    """The lines of a log up to an update."""
    for line in log.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            return  # the last line of a killed run may be cut off
        if entry["update"] <= since:
            yield line + "\n"


def _entry(update: Update) -> dict[str, Any]:
    entry = {name: value for name, value in dump(update).items() if name not in ("index", "total")}
    if not update.broken:
        del entry["broken"]
    return entry
