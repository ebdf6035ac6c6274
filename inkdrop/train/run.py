"""A run: the folder of a training, which the same call resumes exactly.

    run.json        the request, the config and the model description: fixed by the first update
    lock            of the process that writes here, while it does
    metrics.jsonl   one line per update, and one per validation
    samples/        previews from along the way, and final.png
    checkpoints/    see checkpoint.py

`train` is a generator of events; the caller displays them in a `for` loop.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import torch
from torch import nn

from inkdrop import runs
from inkdrop.data.dataset import Dataset
from inkdrop.events import Note
from inkdrop.lock import locked
from inkdrop.train import checkpoint
from inkdrop.train.ahead import Ahead
from inkdrop.train.aim import DIFFUSION, Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.feed import split
from inkdrop.train.keeping import Keeping
from inkdrop.train.objective import with_network
from inkdrop.train.parallel import World
from inkdrop.train.plan import planned
from inkdrop.train.request import TrainRequest
from inkdrop.train.stop import Stopped
from inkdrop.train.updates import start, turns, updates


def train(
    data: Dataset,
    out: str | Path,
    request: TrainRequest | None = None,
    *,
    aim: Aim | None = None,
    world: World | None = None,
) -> Iterator[Event]:
    """Trains on `data` in the run folder `out`, resuming from its newest intact checkpoint.

    aim: what is trained and minimised; by default a diffusion model and the config's loss
    world: the processes, the device, and the event that stops the training

    Nothing is written before the first update is done, so whatever prevents it leaves no trace.
    ValueError if `out` holds a run with other data or another request, or if another process writes
    to it.
    """
    out, world = Path(out), world or World()
    with writing(out, world) as said:
        yield from map(Note, said)
        yield from train_in(out, data, request or TrainRequest(), aim or DIFFUSION, world)


@contextmanager
def writing(out: Path, world: World) -> Iterator[list[str]]:
    """Holds the lock of a run's folder; yields a sentence if a dead process had left it locked.

    ValueError, in all processes of this training, if another one holds it.
    """
    with ExitStack() as stack:
        said, fault = list[str](), None
        if world.main:
            try:
                said = stack.enter_context(locked(out, "training"))
            except (ValueError, OSError) as error:
                fault = error
        if world.agree(fault is not None):
            raise fault or ValueError(f"{out} is being written to by others")
        yield said


def train_in(
    out: Path, data: Dataset, request: TrainRequest, aim: Aim, world: World
) -> Iterator[Event]:
    """`train` for a caller that holds the folder's lock."""
    training, held = split(data, request.config.seed)
    try:
        plan = planned(out, data, training, request, aim, world)
    except Stopped:
        yield Note("stopped before the first update")
        return
    config = plan.config
    torch.manual_seed(config.seed)  # for the initial weights
    model = aim.first(plan.description)
    # A sharded network cannot be copied, so the main process keeps a full one for checkpoints and
    # previews. This has to happen before sharding, which works in place.
    whole = model
    if world.sharded and world.main:
        whole = with_network(model, copy.deepcopy(model.network))
    placed = with_network(model, world.place(model.network))
    state = start(placed, config)
    newest, said = runs.newest_checkpoint(out)
    yield from map(Note, (*data.notes, *said))
    if newest is not None:
        checkpoint.load(newest, state)
        yield Note(f"resuming {out} after update {state.update:,} of {config.updates:,}")
        other = checkpoint.otherwise(newest, world)
        if other is not None and state.update < config.updates:
            yield Note(other)
    out_of_sight = aim.held(held, config, world.device) if held else None
    keeping = Keeping(out, plan, whole, state, aim, out_of_sight, world, request.save_every)
    prepared = with_network(placed, _compiled(placed.network, config))
    feed = aim.feed(training, config, world.device)
    with Ahead(feed, turns(config, world, state.update)) as read:
        yield from keeping.loop(updates(prepared, read, config, state, world, aim.objective))


def _compiled(network: nn.Module, config: TrainConfig) -> nn.Module:
    cuda = next(network.parameters()).is_cuda
    if config.compile == "on" or (config.compile == "auto" and cuda):
        return torch.compile(network)  # type: ignore[return-value]
    return network
