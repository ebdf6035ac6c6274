"""Run by torchrun in test_parallel.py: trains the tiny model, with weights whole or in shards.

weights FOLDER OUT.safetensors KIND     three updates in float64; the weights at the end
run FOLDER OUT KIND LAST                a run in the folder OUT, stopped after update LAST
long FOLDER OUT KIND                    a run without end; the processes watch each other closely
"""

from __future__ import annotations

import dataclasses
import os
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

import tiny

from inkdrop.train import watch
from inkdrop.train.feed import Feed
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World, world
from inkdrop.train.run import train
from inkdrop.train.updates import Update, start, updates

CPU = torch.device("cpu")


def weights(folder: Path, out: Path, here: World) -> None:
    torch.manual_seed(0)
    pictures = tiny.data(folder)
    model = tiny.model(pictures)
    model.network.double()
    config = dataclasses.replace(tiny.ask().config, updates=3, accumulate=2)
    feed = Feed(pictures, config, CPU)

    def doubled(update: int, rows: range) -> Batch:
        batch = feed(update, rows)
        return Batch(batch.x0.double(), batch.cond)

    placed = dataclasses.replace(model, network=here.place(model.network))
    if here.sharded:
        parts = [(p.to_local().numel(), p.numel()) for p in placed.network.parameters()]
        held, total = map(sum, zip(*parts, strict=True))
        assert held < 0.6 * total, f"a process holds {held} of {total} numbers"
    state = start(placed, config)
    for _ in updates(placed, doubled, config, state, here):
        pass
    found = here.whole_state(placed.network)
    if here.main:
        save_file(found, out)


def run(folder: Path, out: Path, here: World, last: int) -> None:
    for event in train(tiny.data(folder), out, tiny.ask(flip=True), world=here):
        if isinstance(event, Update) and event.index == last:
            here.stop.set()


def long(folder: Path, out: Path, here: World) -> None:
    for event in train(tiny.data(folder), out, tiny.ask(updates=10**6), world=here):
        if isinstance(event, Update) and event.index == 2:
            (folder / f"pid{here.rank}").write_text(str(os.getpid()))


if __name__ == "__main__":
    torch.set_num_threads(1)
    task, folder, out, kind, *rest = sys.argv[1:]
    if task == "long":
        watch.BEAT, watch.SILENT = 0.3, 3.0
    with world(CPU, shard=kind == "sharded") as here:
        if task == "weights":
            weights(Path(folder), Path(out), here)
        elif task == "long":
            long(Path(folder), Path(out), here)
        else:
            run(Path(folder), Path(out), here, int(rest[0]))
