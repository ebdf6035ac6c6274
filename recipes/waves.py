"""Series instead of pictures: waves with one, two or three periods, as a plain array.

    python recipes/waves.py --out runs/waves
    inkdrop sample runs/waves --count 12 -o waves.png
    inkdrop interpolate runs/waves --seeds 1 2 -o walk.png
    inkdrop explain runs/waves

The array is [N, C, L]: 2,000 samples with one channel of 128 values, in arbitrary units. Yours can
be anything measured along one axis, with or without labels. It takes two minutes on one core.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch

from inkdrop import open_data, train
from inkdrop.files import replacing
from inkdrop.train.config import TrainConfig
from inkdrop.train.run import Pictured, TrainRequest

SAMPLES, LENGTH = 2000, 128


def waves(path: Path) -> Path:
    """An .npz of sines with random phase and amplitude; the label is the number of periods."""
    rng = np.random.default_rng(0)
    periods = rng.integers(1, 4, SAMPLES)
    phase, height = rng.uniform(0, 2 * np.pi, SAMPLES), rng.uniform(20, 40, SAMPLES)
    along = 2 * np.pi * periods[:, None] * np.linspace(0, 1, LENGTH)
    values = height[:, None] * np.sin(along + phase[:, None])
    with replacing(path) as beside:
        np.savez(beside, x=values[:, None].astype(np.float32), y=periods)
    return path


def main() -> None:
    """Creates the data and trains on it."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path("runs/waves"))
    parser.add_argument("--updates", type=int, default=1500)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    path = waves(asked.out / "waves.npz")
    data = open_data(path)
    network = {"kind": "unet", "dims": 1, "in_channels": 1, "num_classes": 3, "width": 16,
               "multipliers": (1, 2, 2, 4), "blocks": 2, "norm_groups": 16,
               "head_channels": 16}  # fmt: skip
    request = TrainRequest(
        TrainConfig(updates=asked.updates, batch=32, precision="float32"),
        model={"network": network},
        source={"path": str(path.resolve()), "options": {}},
    )
    torch.set_num_threads(1)  # a network this small is no faster with more threads
    print(data.describe())
    for event in train(data, asked.out, request):
        if isinstance(event, Pictured):
            print(event.path)


if __name__ == "__main__":
    main()
