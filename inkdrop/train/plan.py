"""run.json: the request, the config and the model description, fixed by a run's first update.

A plan is made and checked without a trace on the disk; `Keeping` writes it once the first update is
done. A training that cannot start thus leaves nothing that a corrected one would have to fit.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from inkdrop import runs
from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.files import check_writable, replacing
from inkdrop.limits import UPDATES
from inkdrop.train.ahead import Ahead
from inkdrop.train.aim import Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import with_network
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.source import recorded
from inkdrop.train.stop import Stopped
from inkdrop.train.updates import parts, start, turns, updates
from inkdrop.weights import read_json

NAME = "run.json"
TRIAL = 6  # updates that are timed and then discarded
FEWEST = 20  # the fewest updates, however short the given time


@dataclass(frozen=True)
class Plan:
    """What stays fixed in a run from its first update on.

    description: the content of its model.json
    content: the content of its run.json, which includes both
    """

    config: TrainConfig
    description: dict[str, Any]
    content: dict[str, Any]

    @staticmethod
    def of(content: dict[str, Any], where: str) -> Plan:
        """The plan in the content of a run.json; where: its name for error messages."""
        return Plan(parse(TrainConfig, content["config"], where), content["model"], content)

    def write(self, out: Path) -> None:
        """Writes run.json, unless the folder has it already."""
        file = out / NAME
        if file.is_file() and read_json(file) == self.content:
            return
        with replacing(file) as beside:
            beside.write_text(json.dumps(self.content, indent=2) + "\n", encoding="utf-8")


def planned(
    out: Path, data: Dataset, training: Dataset, request: TrainRequest, aim: Aim, world: World
) -> Plan:
    """The plan of the run in `out`, from its run.json or, at the first start, new; writes nothing.

    data: the full data set; training: the part without held-out samples. ValueError if the run was
    started with another request or other data, unless it has no checkpoint yet: then nothing would
    be lost. OSError if `out` cannot be written to.
    """
    parts(request.config, world)
    file = out / NAME
    check_writable(file)
    asked = {"data": data.fingerprint, **asked_of(request)}
    asked["aim"] = None if aim.record is None else json.loads(json.dumps(dict(aim.record)))
    if not file.is_file():
        if (out / "checkpoints").exists():
            raise ValueError(
                f"{out} has checkpoints but no run.json; restore it or use another folder"
            )
        return _made(data, training, request, aim, world, asked)
    stored = recorded(file, "asked", "asked.config", "config", "model")
    other = difference(out, stored.get("asked", {}), asked)
    if other is None:
        # The data may have moved, and later commands look for it where it is now.
        source = dict(request.source) or stored.get("source", {})
        return Plan.of({**stored, "source": source}, str(file))
    if runs.checkpoints(out):
        raise ValueError(other)
    return _made(data, training, request, aim, world, asked)


def _made(
    data: Dataset,
    training: Dataset,
    request: TrainRequest,
    aim: Aim,
    world: World,
    asked: dict[str, Any],
) -> Plan:
    """A new plan."""
    config, description = request.config, aim.describe(data, request)
    with torch.device("meta"):  # whether the network can be built
        aim.build(description, "the model's description")
    if request.minutes is not None:
        seconds = trial(config, description, training, aim, world)
        config = dataclasses.replace(
            config, updates=min(UPDATES, max(FEWEST, round(request.minutes * 60 / seconds)))
        )
    content = {"asked": asked, "config": dump(config), "model": description}
    content["source"] = dict(request.source)
    return Plan.of(json.loads(json.dumps(content)), "the run's plan")


def asked_of(request: TrainRequest) -> dict[str, Any]:
    """What of a request must stay the same whenever a run is resumed, as read from JSON."""
    fixed = {"config": dump(request.config), "minutes": request.minutes}
    found: dict[str, Any] = json.loads(json.dumps({**fixed, "model": dict(request.model)}))
    return found


def difference(out: Path, before: Mapping[str, Any], now: Mapping[str, Any]) -> str | None:
    """A sentence about the first thing that was asked for otherwise before; None if there is none.

    Both have the keys of `asked` in run.json.
    """
    if before.get("data") != now.get("data"):
        return (
            f"{out} is a run on other data (or the data changed since); train into another folder"
            " with --out, or bring the data back"
        )
    # A run older than an option was trained as if with the option's default.
    config = {**json.loads(json.dumps(dump(TrainConfig()))), **before.get("config", {})}
    for name, old, new in _differences({**before, "config": config}, now):
        why = ""
        if name in ("updates", "minutes"):
            why = ", and the learning rate falls towards the end of them"
        return (
            f"{out} was started with {name} {old}, not {new}{why}; ask for the same as before to"
            " resume it, or train into another folder with --out"
        )
    return None


def _differences(
    before: Mapping[str, Any], now: Mapping[str, Any]
) -> Iterator[tuple[str, object, object]]:
    for name in sorted(before.keys() | now.keys()):
        old, new = before.get(name), now.get(name)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _differences(old, new)
        elif old != new:
            yield name, old, new


def trial(
    config: TrainConfig,
    description: Mapping[str, Any],
    data: Dataset,
    aim: Aim,
    world: World,
    count: int = TRIAL,
) -> float:
    """Seconds that an update takes, by timing `count` of them, which are discarded.

    Whatever stops a training from starting is raised here: nothing is written. `Stopped` if that
    was asked for.
    """
    model = aim.first(description)
    model = with_network(model, world.place(model.network))
    feed, state = aim.feed(data, config, world.device), start(model, config)
    short = dataclasses.replace(config, updates=count)
    for turn in turns(short, world):
        feed(*turn)  # once before: what fits in memory is decoded only once in a training
    ticks = [time.perf_counter()]
    with Ahead(feed, turns(short, world)) as read:
        for _ in updates(model, read, short, state, world, aim.objective):
            ticks.append(time.perf_counter())
    if len(ticks) <= count:
        raise Stopped
    # The first two updates are slower (memory is allocated then), so they are not counted.
    timed = ticks[min(2, count - 1) :]
    # Clocks differ between processes: all of them take the slowest.
    return world.most((timed[-1] - timed[0]) / (len(timed) - 1))
