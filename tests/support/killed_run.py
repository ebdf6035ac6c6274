"""Run by test_run.py: trains the tiny model in a folder and kills itself after update 25."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent))

import tiny

from inkdrop.train.parallel import World
from inkdrop.train.run import train
from inkdrop.train.updates import Update


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    pictures = tiny.data(folder)
    asked = tiny.ask(updates=40, flip=True)
    for event in train(pictures, out, asked, world=World(device=torch.device("cpu"))):
        if isinstance(event, Update) and event.index == 24:
            os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
