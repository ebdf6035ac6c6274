"""A run: a folder in which a training lives, that the same call resumes exactly.

    run.json        what was asked, the config and the model's description: fixed at the first start
    metrics.jsonl   one line an update, and one a validation
    samples/        a grid of pictures now and then, and final.png
    checkpoints/    see checkpoint.py

`train` is a generator of events; showing them is the caller's `for` loop.
"""

from __future__ import annotations

import copy
import dataclasses
import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor

from inkdrop import runs
from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.device import pick_device
from inkdrop.events import Note
from inkdrop.files import clear_leftovers, replacing
from inkdrop.media.medium import Look
from inkdrop.media.sheet import save_image
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.tasks.generate import generate
from inkdrop.tasks.sampling import Sampling
from inkdrop.train import checkpoint, defaults
from inkdrop.train.config import TrainConfig
from inkdrop.train.feed import Feed, HeldOut, held_out, split
from inkdrop.train.parallel import World
from inkdrop.train.updates import (
    Batches,
    Objective,
    State,
    Trained,
    Update,
    losses,
    start,
    updates,
    validation_loss,
)
from inkdrop.weights import read_json

if TYPE_CHECKING:
    from PIL.Image import Image


SAVE_SECONDS = 120.0
PREVIEWS = 10


@dataclass(frozen=True)
class Validated:
    """The averaged weights' loss on held-out data and fixed noise, after `update` updates."""

    update: int
    loss: float


@dataclass(frozen=True)
class Pictured:
    """A grid of samples was written."""

    path: Path


@dataclass(frozen=True)
class Saved:
    """A checkpoint was committed."""

    path: Path


Event = Update | Note | Validated | Pictured | Saved


@dataclass(frozen=True)
class TrainRequest:
    """What was asked of a run besides its data.

    config: everything that decides the result; minutes: if given, config.updates is replaced at the
    first start by what fits; model: parts of model.json that replace the default ones;
    save_every: updates between checkpoints (None: one every two minutes);
    source: how the data was opened, kept for later commands.
    config, minutes, model and the data itself must not change between starts of one run.
    """

    config: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    minutes: float | None = None
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    save_every: int | None = None
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0:
            raise ValueError(f"minutes is {self.minutes}: it must be above 0")
        if self.save_every is not None and self.save_every < 1:
            raise ValueError(f"save_every is {self.save_every}: it must be at least 1")


def sampled(model: Model, held: HeldOut | None) -> Image | None:
    """A sheet of samples: with labels one column a class (at most 10), else a square of 16."""
    sampling = Sampling()
    labels = model.classes[:10]
    count = 4 * len(labels) if labels else 16
    wanted = [labels[i % len(labels)] for i in range(count)] if labels else None
    if not model.spec.condition_drop:
        sampling = dataclasses.replace(sampling, guidance=None if labels is None else 1.0)
    for step in generate(model, samples=range(count), conditions=wanted, sampling=sampling):
        x = step.x
    x = model.codec.decode(x).cpu()
    return model.medium.sheet(x, Look(columns=len(labels) or None))


@dataclass(frozen=True)
class Aim:
    """What a run trains and minimises, if not a diffusion model by the config's loss.

    objective: the loss; describe: (data, ask) -> the content of model.json; build: what is trained,
    with fresh weights, from that and a name for errors; weights: that it starts from instead;
    picture: (what is trained, with averaged weights; held-out data) -> how far it is
    feed, held: the batches of training, and of validation
    record: all that decides it, for run.json; like the config it must not change between starts
    """

    objective: Objective = losses
    describe: Callable[[Dataset, TrainRequest], dict[str, Any]] = defaults.description
    build: Callable[[Mapping[str, Any], str], Trained] = build_model
    weights: Mapping[str, Tensor] | None = None
    picture: Callable[[Any, HeldOut | None], Image | None] = sampled
    feed: Callable[[Dataset, TrainConfig, torch.device], Batches] = Feed
    held: Callable[[Dataset, TrainConfig, torch.device], HeldOut] = held_out
    record: Mapping[str, Any] | None = None


DIFFUSION = Aim()


def train(
    data: Dataset,
    out: str | Path,
    ask: TrainRequest | None = None,
    *,
    aim: Aim | None = None,
    stop: threading.Event | None = None,
    world: World | None = None,
    device: torch.device | None = None,
) -> Iterator[Event]:
    """Trains on `data` in the run folder `out`, from its newest sound checkpoint if it has one.

    aim: what is minimised and from which weights, if not the plain loss from fresh ones. Setting
    `stop` ends it after the running update, with a checkpoint. ValueError if `out` holds a
    run of other data or another configuration.
    """
    ask, aim = ask or TrainRequest(), aim or DIFFUSION
    out, world, stop = Path(out), world or World(), stop or threading.Event()
    device = device or pick_device()
    training, held = split(data, ask.config.seed)
    plan = _plan(out, data, training, ask, aim, device, world)
    config = plan.config
    torch.manual_seed(config.seed)  # the weights' first values
    model = _first(plan.description, aim, device)
    state = start(model, config)
    newest, said = runs.newest_checkpoint(out)
    yield from map(Note, (*data.notes, *said))
    if newest is not None:
        checkpoint.load(newest, state)
        yield Note(f"resuming {out} after update {state.update:,} of {config.updates:,}")
    out_of_sight = aim.held(held, config, device) if held else None
    run = _Run(out, config, model, state, aim, out_of_sight, world)
    run.rewind()
    prepared = _with(model, world.wrap(_compiled(model.network, config)))
    feed = aim.feed(training, config, device)
    steps = updates(prepared, feed, config, state, world, aim.objective)
    yield from run.loop(steps, stop, ask.save_every)


def source_of(
    run: Path, other: str | None = None, options: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """{"path", "options"} of the data that a run was trained on, or of `other`.

    options: those of a run that says none, and of a folder that is no run.
    """
    file = run / "run.json"
    if not file.is_file() and other is None:
        raise ValueError(f"{run} is not a run with its data; name some with --data")
    source = dict(read_json(file).get("source", {})) if file.is_file() else {}
    path = other or source.get("path")
    if path is None:
        raise ValueError(f"{file} does not say where the data is; name it with --data")
    return {"path": path, "options": dict(source.get("options") or options or {})}


def data_of(run: Path, other: str | None = None) -> Dataset:
    """The data that a run was trained on, or `other` opened with the same options."""
    source = source_of(run, other)
    return open_data(source["path"], **source["options"])


@dataclass(frozen=True)
class _Plan:
    config: TrainConfig
    description: dict[str, Any]


def _plan(
    out: Path,
    data: Dataset,
    training: Dataset,
    ask: TrainRequest,
    aim: Aim,
    device: torch.device,
    world: World,
) -> _Plan:
    """The run's fixed plan: read from run.json, or made and written there at the first start."""
    asked = {
        "data": data.fingerprint,
        "config": dump(ask.config),
        "minutes": ask.minutes,
        "model": dict(ask.model),
        "aim": None if aim.record is None else dict(aim.record),
    }
    file = out / "run.json"
    # Asked of all processes together, before the first of them writes it.
    if world.agree(file.is_file()):
        stored = read_json(file)
        _compare(out, stored.get("asked", {}), json.loads(json.dumps(asked)))
        return _Plan(parse(TrainConfig, stored["config"], str(file)), stored["model"])
    if (out / "checkpoints").exists():
        raise ValueError(f"{out} has checkpoints but no run.json; restore it or use another folder")
    config = ask.config
    description = aim.describe(data, ask)
    with torch.device("meta"):  # a network that cannot be built leaves no run behind
        aim.build(description, "the model's description")
    if ask.minutes is not None:
        config = _fit(config, description, training, ask.minutes, aim, device)
    if world.main:
        out.mkdir(parents=True, exist_ok=True)
        whole = {"asked": asked, "config": dump(config), "model": description}
        whole["source"] = dict(ask.source)
        with replacing(file) as beside:
            beside.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    world.wait()
    stored = read_json(file)
    return _Plan(parse(TrainConfig, stored["config"], str(file)), stored["model"])


def _compare(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if before.get("data") != now["data"]:
        raise ValueError(
            f"{out} is a run on other data (or the data changed since); train into another folder"
            " with --out, or bring the data back"
        )
    # A run older than an option of the config was made as if by its default.
    config = {**json.loads(json.dumps(dump(TrainConfig()))), **before.get("config", {})}
    for name, old, new in _differences({**before, "config": config}, now):
        raise ValueError(
            f"{out} was started with {name} {old}, not {new}; ask for the same as before to resume"
            " it, or train into another folder with --out"
        )


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, object, object]]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new)
        elif old != new:
            yield name, old, new


def _fit(
    config: TrainConfig,
    description: Mapping[str, Any],
    data: Dataset,
    minutes: float,
    aim: Aim,
    device: torch.device,
) -> TrainConfig:
    """The config with as many updates as fit in `minutes`, by a few that are thrown away."""
    model = _first(description, aim, device)
    feed, state = aim.feed(data, config, device), start(model, config)
    trial = dataclasses.replace(config, updates=6)
    ticks = []
    for _ in updates(model, feed, trial, state, objective=aim.objective):
        ticks.append(time.perf_counter())
    seconds = (ticks[-1] - ticks[1]) / (len(ticks) - 2)
    return dataclasses.replace(config, updates=max(20, round(minutes * 60 / seconds)))


def _first(description: Mapping[str, Any], aim: Aim, device: torch.device) -> Trained:
    """What is trained, before the first update."""
    model = aim.build(description, "the model's description")
    if aim.weights is not None:
        model.network.load_state_dict(dict(aim.weights))
    return _with(model, model.network.to(device))


def _with(model: Trained, network: torch.nn.Module) -> Trained:
    """The same with another network."""
    return cast(Trained, dataclasses.replace(cast(Any, model), network=network))


def _compiled(network: torch.nn.Module, config: TrainConfig) -> torch.nn.Module:
    cuda = next(network.parameters()).is_cuda
    if config.compile == "on" or (config.compile == "auto" and cuda):
        return torch.compile(network)  # type: ignore[return-value]
    return network


@dataclass(frozen=True)
class _Run:
    """The folder's side of a training: when to save, to validate and to draw."""

    out: Path
    config: TrainConfig
    model: Trained
    state: State
    aim: Aim
    held: HeldOut | None
    world: World

    def rewind(self) -> None:
        """Drops what a killed run logged or left half written after its last checkpoint."""
        if not self.world.main:
            return
        clear_leftovers(self.out)
        if (self.out / "checkpoints").is_dir():
            clear_leftovers(self.out / "checkpoints")
        log = self.out / "metrics.jsonl"
        if not log.is_file():
            return
        lines = []
        for line in log.read_text(encoding="utf-8").splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                break  # the last line of a killed run may be cut
            if entry["update"] <= self.state.update:
                lines.append(line + "\n")
        with replacing(log) as beside:
            beside.write_text("".join(lines), encoding="utf-8")

    def loop(
        self, steps: Iterator[Update], stop: threading.Event, save_every: int | None
    ) -> Iterator[Event]:
        """The updates, with checkpoints, validation and pictures between them."""
        preview = max(1, self.config.updates // PREVIEWS)
        saved, began = time.monotonic(), time.monotonic()
        self.out.mkdir(parents=True, exist_ok=True)
        try:
            for update in steps:
                self.log(
                    update=update.index + 1, **_entry(update), seconds=time.monotonic() - began
                )
                yield update
                done = self.state.update
                leave = self.world.agree(stop.is_set())
                if done % preview == 0 and not leave:
                    yield from self.look(f"{done:08d}")
                due = done % save_every == 0 if save_every else self._due(saved)
                if done == self.config.updates or due or leave:
                    yield from self.save()
                    saved = time.monotonic()
                if leave:
                    yield Note(f"stopped after update {done:,}; the same command goes on from here")
                    return
        except FloatingPointError:
            yield from self.save()
            raise
        if not (self.out / "samples" / "final.png").is_file():
            yield from self.look("final")

    def _due(self, saved: float) -> bool:
        # Clocks differ between processes: all save when one wants to.
        return self.world.agree(time.monotonic() - saved > SAVE_SECONDS)

    def save(self) -> Iterator[Event]:
        """A checkpoint, by the main process."""
        if self.world.main:
            path = checkpoint.save(self.out / "checkpoints", self.averaged(), self.state)
            yield Saved(path)
        self.world.wait()

    def look(self, name: str) -> Iterator[Event]:
        """Validation and a grid of samples, both with the averaged weights, by the main process."""
        if self.world.main:
            model = self.averaged()
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

    def averaged(self) -> Trained:
        """What is trained, a copy of its own, with the averaged weights."""
        network = copy.deepcopy(self.state.network)
        network.load_state_dict(self.state.ema)
        return _with(self.model, network.eval().requires_grad_(False))

    def log(self, **entry: float | int | bool) -> None:
        """One line of metrics.jsonl."""
        if self.world.main:
            with (self.out / "metrics.jsonl").open("a", encoding="utf-8") as file:
                file.write(json.dumps(entry) + "\n")


def _entry(update: Update) -> dict[str, float]:
    return {name: value for name, value in dump(update).items() if name not in ("index", "total")}
