"""Photographs of flowers at 64x64: the autoencoder for latent diffusion.

    python recipes/flowers.py DATA/flowers --out runs/flowers
    python benchmarks/reconstruction.py runs/flowers/autoencoder --data DATA/flowers --split val

The part `train` of the data is learned from; `val` is left out of every training. A stage resumes
where it stopped.

    autoencoder   64x64x3 <-> 16x16x8, mirrored pictures too
"""

from __future__ import annotations

import argparse
from pathlib import Path

from inkdrop.data.open import open_data
from inkdrop.train.autoencoder import shape_for, train_autoencoder
from inkdrop.train.config import TrainConfig
from inkdrop.train.run import Ask, Event, Validated

CHANNELS = 8


def autoencoder(path: Path, out: Path, updates: int) -> Path:
    """Trains the autoencoder; its run."""
    data = open_data(path, split="train", size=64, channels=3)
    config = TrainConfig(updates=updates, batch=32, flip=True, cooldown=0.4, condition_drop=0.0)
    run = out / "autoencoder"
    source = {"path": str(path), "options": {"split": "train", "size": 64, "channels": 3}}
    shape = shape_for(data, factor=4, channels=CHANNELS)
    for event in train_autoencoder(data, run, shape, ask=Ask(config, source=source)):
        show("autoencoder", event)
    return run


def show(stage: str, event: Event) -> None:
    """A line now and then."""
    if isinstance(event, Validated):
        print(f"{stage}: update {event.update}, held-out loss {event.loss:.4f}", flush=True)


def main() -> None:
    """All stages in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=Path("runs/flowers"))
    parser.add_argument("--autoencoder-updates", type=int, default=5000)
    asked = parser.parse_args()
    autoencoder(asked.data, asked.out, asked.autoencoder_updates)


if __name__ == "__main__":
    main()
