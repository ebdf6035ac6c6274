"""Fashion-MNIST from its four gzip IDX files, for the benchmarks."""

from __future__ import annotations

import argparse
import gzip
import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks import places

NAMES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip


def default_folder() -> Path:
    """$INKDROP_DATA, or shared/data/fashion-mnist beside the repository."""
    beside = places.ROOT.resolve().parent / "shared" / "data" / "fashion-mnist"
    return Path(os.environ.get("INKDROP_DATA", beside))


def add_data_option(parser: argparse.ArgumentParser) -> None:
    """Adds --data, the folder with the four files."""
    parser.add_argument("--data", type=Path, default=default_folder(), help="folder of the files")


def load(split: str, folder: Path | None = None) -> tuple[Tensor, Tensor]:
    """Pictures [N, 1, 28, 28] in [-1, 1] and labels [N] int64 of the split "train" or "test"."""
    prefix = {"train": "train", "test": "t10k"}[split]
    folder = folder or default_folder()
    pixels = read_idx(folder / f"{prefix}-images-idx3-ubyte.gz")
    labels = read_idx(folder / f"{prefix}-labels-idx1-ubyte.gz")
    x = torch.from_numpy(pixels).float().div_(127.5).sub_(1).unsqueeze(1)
    return x, torch.from_numpy(labels).long()


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array in a gzip IDX file: two zero bytes, type 8, rank, sizes, data."""
    if not path.exists():
        raise SystemExit(f"{path} is not there; give its folder with --data or INKDROP_DATA.")
    raw = gzip.decompress(path.read_bytes())
    if raw[:3] != b"\0\0\x08":
        raise SystemExit(f"{path} is not an IDX file of unsigned bytes; download it again.")
    shape = np.frombuffer(raw, ">i4", count=raw[3], offset=4)
    return np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).reshape(shape).copy()


def balanced(labels: Tensor, n: int) -> Tensor:
    """Indices [n] of the first n / 10 pictures of every class."""
    if n % 10:
        raise ValueError(f"n is {n}; a multiple of 10 is needed for ten equal classes.")
    return torch.cat([torch.nonzero(labels == c)[: n // 10, 0] for c in range(10)])
