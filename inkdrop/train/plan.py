"""run.json: the request, the config and the model description, fixed at a run's first start."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.files import replacing
from inkdrop.train.aim import Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import with_network
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import start, updates
from inkdrop.weights import read_json

TRIAL = 6  # updates that are timed and then discarded
FEWEST = 20  # the fewest updates, however short the given time


@dataclass(frozen=True)
class Plan:
    """What a run's first start fixed; description: the content of its model.json."""

    config: TrainConfig
    description: dict[str, Any]


def planned(
    out: Path, data: Dataset, training: Dataset, request: TrainRequest, aim: Aim, world: World
) -> Plan:
    """The plan of the run in `out`: read from run.json, or made and written at the first start.

    data: the full data set; training: the part without held-out samples. ValueError if the run was
    started with another request or other data.
    """
    asked = _asked(data, request, aim)
    file = out / "run.json"
    # All processes check this together, before the main one writes the file.
    if world.agree(file.is_file()):
        _compare(out, read_json(file).get("asked", {}), json.loads(json.dumps(asked)))
        return _read(file)
    if (out / "checkpoints").exists():
        raise ValueError(f"{out} has checkpoints but no run.json; restore it or use another folder")
    config, description = request.config, aim.describe(data, request)
    with torch.device("meta"):  # fail before anything is written if the network cannot be built
        aim.build(description, "the model's description")
    if request.minutes is not None:
        config = _fitted(Plan(config, description), training, request.minutes, aim, world)
    if world.main:
        out.mkdir(parents=True, exist_ok=True)
        whole = {"asked": asked, "config": dump(config), "model": description}
        whole["source"] = dict(request.source)
        with replacing(file) as beside:
            beside.write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")
    world.wait()
    return _read(file)


def _asked(data: Dataset, request: TrainRequest, aim: Aim) -> dict[str, Any]:
    """What must stay the same whenever a run is resumed."""
    return {
        "data": data.fingerprint,
        "config": dump(request.config),
        "minutes": request.minutes,
        "model": dict(request.model),
        "aim": None if aim.record is None else dict(aim.record),
    }


def _read(file: Path) -> Plan:
    stored = read_json(file)
    return Plan(parse(TrainConfig, stored["config"], str(file)), stored["model"])


def _compare(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> None:
    if before.get("data") != now["data"]:
        raise ValueError(
            f"{out} is a run on other data (or the data changed since); train into another folder"
            " with --out, or bring the data back"
        )
    # A run older than an option was trained as if with the option's default.
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


def _fitted(plan: Plan, data: Dataset, minutes: float, aim: Aim, world: World) -> TrainConfig:
    """The config with as many updates as fit in `minutes`, from timing a few discarded ones."""
    config, model = plan.config, aim.first(plan.description)
    model = with_network(model, world.place(model.network))
    feed, state = aim.feed(data, config, world.device), start(model, config)
    trial = dataclasses.replace(config, updates=TRIAL)
    ticks = []
    for _ in updates(model, feed, trial, state, world, aim.objective):
        ticks.append(time.perf_counter())
    # The first two updates are slower (memory is allocated then), so they are not counted.
    seconds = (ticks[-1] - ticks[1]) / (len(ticks) - 2)
    return dataclasses.replace(config, updates=max(FEWEST, round(minutes * 60 / seconds)))
