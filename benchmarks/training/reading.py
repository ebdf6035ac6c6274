"""Reading pictures while training: the time to the first update, and updates a second.

    python -m benchmarks.training.reading FLOWERS.parquet [--count 2400] [--side 512] [--rounds 3]

The pictures of a table are written as large JPEGs into a temporary folder, which a small U-Net is
trained on at 64x64, on one thread. Three ways take turns, each in a process of its own:

    ahead      as it is: a picture is decoded when it is needed, by a thread that reads ahead
    first      every picture is decoded before the first update
    at use     memory for no decoded picture, so each is decoded whenever it is used
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read once, when torch loads its OpenMP

import argparse
import io
import statistics
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pyarrow.parquet as parquet
import torch
from PIL import Image

from inkdrop.data import dataset
from inkdrop.data.open import open_data
from inkdrop.train.config import TrainConfig
from inkdrop.train.parallel import World
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.updates import Update

WAYS = ("ahead", "first", "at use")
UPDATES = 60
CPU = torch.device("cpu")
NETWORK = {"kind": "unet", "in_channels": 3, "width": 8, "multipliers": [1, 2, 2], "blocks": 1,
           "head_channels": 8, "norm_groups": 4, "resample": "pool"}  # fmt: skip


def write(table: Path, folder: Path, count: int, side: int) -> None:
    """Writes the first pictures of a table as JPEGs of side x side pixels."""
    rows = parquet.read_table(table, columns=["image"]).slice(0, count).to_pylist()
    for i, row in enumerate(rows):
        cell = row["image"]
        data = cell["bytes"] if isinstance(cell, dict) else cell
        with Image.open(io.BytesIO(data)) as picture:
            large = picture.convert("RGB").resize((side, side), Image.Resampling.BICUBIC)
            large.save(folder / f"{i:05d}.jpg", quality=90)


def measured(way: str, folder: str) -> tuple[float, float, float]:
    """Seconds until the data is open and until the first update, and then updates a second."""
    torch.set_num_threads(1)
    if way == "at use":
        dataset.CACHE_BYTES = 0
    began = time.perf_counter()
    data = open_data(folder, size=64)
    opened = time.perf_counter()
    if way == "first":
        data.take(range(len(data)))
    asked = TrainRequest(
        TrainConfig(updates=100_000, batch=16, warmup=2, precision="float32"),
        model={"network": NETWORK},
        save_every=100_000,
    )
    with tempfile.TemporaryDirectory() as out:
        ticks = _ticks(iter(train(data, Path(out) / "run", asked, world=World(device=CPU))))
    speed = (len(ticks) - 1) / (ticks[-1] - ticks[0])
    return opened - began, ticks[0] - began, speed


def _ticks(events: Iterator[object]) -> list[float]:
    """When each of the first updates was done."""
    ticks = list[float]()
    for event in events:
        if isinstance(event, Update):
            ticks.append(time.perf_counter())
        if len(ticks) > UPDATES:
            break
    events.close()  # type: ignore[attr-defined]
    return ticks


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", type=Path)
    parser.add_argument("--count", type=int, default=2400)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    found: dict[str, list[tuple[float, float, float]]] = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        write(given.table, Path(folder), given.count, given.side)
        for _ in range(given.rounds):
            for way in WAYS:
                with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                    found[way].append(pool.submit(measured, way, folder).result())
    print("| way | open, s | first update, s | updates/s |\n|---|---|---|---|")
    for way, rows in found.items():
        opened, first, speed = (statistics.median(each) for each in zip(*rows, strict=True))
        print(f"| {way} | {opened:.1f} | {first:.1f} | {speed:.2f} |")


if __name__ == "__main__":
    main()
