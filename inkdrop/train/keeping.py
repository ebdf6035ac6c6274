"""The files of a run: when to log, write checkpoints, validate and draw previews."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from inkdrop.config import dump
from inkdrop.events import Note
from inkdrop.files import clear_leftovers
from inkdrop.media.sheet import save_image
from inkdrop.train import checkpoint
from inkdrop.train.aim import Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Event, Pictured, Saved, Validated
from inkdrop.train.feed import HeldOut
from inkdrop.train.log import Log
from inkdrop.train.objective import Trained, with_network
from inkdrop.train.parallel import World
from inkdrop.train.plan import Plan
from inkdrop.train.stop import Stopped, leaving
from inkdrop.train.updates import State, Update, validation_loss

if TYPE_CHECKING:
    from PIL.Image import Image

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
        self.log.rewind(since)

    @property
    def log(self) -> Log:
        """The run's log."""
        return Log(self.out / "metrics.jsonl")

    def loop(self, steps: Iterator[Update]) -> Iterator[Event]:
        """The updates, with checkpoints, validation and pictures between them."""
        saved, began, kept = time.monotonic(), time.monotonic(), self.state.update
        if self._preview_due() and self.world.agree(self.world.main and self._unseen()):
            self.begin(kept)
            yield from self.look(f"{kept:08d}")  # the last start was stopped in it
        try:
            for update in self._begun(steps):
                if self.world.main:
                    self.log.write(**_entry(update), seconds=time.monotonic() - began)
                yield update
                if self._preview_due() and not self._leaving():
                    yield from self.look(f"{self.state.update:08d}")
                if self._leaving():
                    break
                if self.state.update == self.config.updates or self._due(saved):
                    yield from self.save()
                    saved, kept = time.monotonic(), self.state.update
        except FloatingPointError:
            yield from self.save()
            raise
        if kept != self.state.update:
            yield from self.save()
        # Only the main process writes pictures, so what it finds decides for all processes.
        final = self.out / "samples" / "final.png"
        if not self._leaving() and self.world.agree(self.world.main and not final.is_file()):
            yield from self.look("final")
        if self._leaving():
            done = self.state.update
            yield Note(f"stopped after update {done:,}; the same command goes on from here")

    def _leaving(self) -> bool:
        """Whether any process was asked to stop; every process must call this."""
        return self.world.agree(self.world.stop.is_set())

    def _preview_due(self) -> bool:
        done = self.state.update
        return done > 0 and done % max(1, self.config.updates // PREVIEWS) == 0

    def _unseen(self) -> bool:
        """Whether the preview after the present update is missing, because a stop cut it short."""
        done = self.state.update
        if self.held is not None:
            return not self.log.validated(done)
        return not (self.out / "samples" / f"{done:08d}.png").is_file()

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
            with self.world.busy:
                path, notes = checkpoint.save(self.out / "checkpoints", model, kept)
            yield Saved(path)
            yield from map(Note, notes)
        self.world.wait()

    def look(self, name: str) -> Iterator[Event]:
        """Validates and draws a preview with the averaged weights, in the main process only.

        When training is sharded, that process meanwhile holds the full network beside its shard.
        """
        average = self.world.whole(self.state.ema)
        if self.world.main:
            with suppress(Stopped):
                yield from self._looked(self._averaged(average), name)
        self.world.wait()

    def _looked(self, model: Trained, name: str) -> Iterator[Event]:
        """Validates and draws; `Stopped`, with nothing written, as soon as a stop is asked for."""
        loss = None
        with leaving(self.world.stop):
            if self.held is not None:
                count = len(self.held.data)
                loss = validation_loss(model, self.config, self.held, count, self.aim.objective)
            with torch.no_grad():
                picture = self._drawn(model)
        if picture is not None:
            save_image(picture, self.out / "samples" / f"{name}.png")
        if loss is not None:
            self.log.write(update=self.state.update, validation=loss)
            yield Validated(self.state.update, loss)
        if picture is not None:
            yield Pictured(self.out / "samples" / f"{name}.png")

    def _drawn(self, model: Trained) -> Image | None:
        """The aim's picture; FloatingPointError with advice for a training if it is not finite."""
        try:
            return self.aim.picture(model, self.held)
        except FloatingPointError as error:
            raise FloatingPointError(
                f"the averaged weights after update {self.state.update:,} draw nothing that is"
                " finite, so this training has diverged; train into another folder with a lower lr"
                f" (now {self.config.lr:g}) or in float32"
            ) from error

    def _averaged(self, average: dict[str, Tensor]) -> Trained:
        """A copy of the model with the averaged weights."""
        network: nn.Module = copy.deepcopy(self.model.network).to(self.world.device)
        network.load_state_dict(average)
        return with_network(self.model, network.eval().requires_grad_(False))


def _entry(update: Update) -> dict[str, Any]:
    """A line of the log; updates are counted from 1 there."""
    entry = dump(update)
    del entry["total"]
    if not update.broken:
        del entry["broken"]
    return {"update": entry.pop("index") + 1, **entry}
