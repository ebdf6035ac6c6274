"""Run by torchrun in test_parallel.py: trains the tiny model in float64 and saves its weights."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))

import tiny

from inkdrop.train.feed import Feed
from inkdrop.train.parallel import world
from inkdrop.train.updates import Batch, start, updates


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    pictures = tiny.data(folder)
    model = tiny.model(pictures)
    model.network.double()
    config = dataclasses.replace(tiny.ask().config, updates=3, accumulate=2)
    feed = Feed(pictures, config, torch.device("cpu"))

    def doubled(update: int, rows: range) -> Batch:
        batch = feed(update, rows)
        return Batch(batch.x0.double(), batch.cond)

    with world() as here:
        state = start(model, config)
        wrapped = dataclasses.replace(model, network=here.wrap(model.network))
        for _ in updates(wrapped, doubled, config, state, here):
            pass
        if here.main:
            save_file(state.network.state_dict(), out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
