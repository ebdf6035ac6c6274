"""A data set and a network small enough to train in a test."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.files import replacing
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.networks.text import TextEncoderConfig
from inkdrop.train import defaults
from inkdrop.train.config import TrainConfig
from inkdrop.train.request import TrainRequest

NETWORK: dict[str, Any] = {
    "kind": "unet",
    "in_channels": 1,
    "width": 8,
    "multipliers": (1, 2),
    "blocks": 1,
    "head_channels": 8,
    "norm_groups": 4,
    "num_classes": 2,
}


TEXT = TextEncoderConfig(vocabulary=300, width=16, layers=1, heads=2, context=8)
DIT: dict[str, Any] = {
    "kind": "dit", "in_channels": 1, "width": 16, "depth": 1, "heads": 2, "num_classes": 2,
    "text": "cross", "tokens_dim": 16,
}  # fmt: skip


def data(folder: Path, count: int = 48) -> Dataset:
    """Two classes of 8x8 pictures: bright above or bright below, with some noise."""
    rng = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = rng.integers(0, 60, (count, 8, 8))
    images[labels == 0, :4] += 180
    images[labels == 1, 4:] += 180
    path = folder / "tiny.npz"
    with replacing(path) as beside:  # another process may read it meanwhile
        np.savez(beside, images=images.astype(np.uint8), labels=labels)
    return open_data(path)


def captioned(folder: Path) -> Dataset:
    """The same with captions that say which half is bright."""
    pictures = data(folder)
    assert pictures.labels is not None
    captions = tuple(("bright above", "bright below")[label] for label in pictures.labels)
    return dataclasses.replace(pictures, captions=captions)


def ask(**config: Any) -> TrainRequest:
    """A short training of the tiny network."""
    return TrainRequest(
        TrainConfig(**{"updates": 8, "batch": 8, "warmup": 2, "precision": "float32", **config}),
        model={"network": NETWORK},
        save_every=4,
    )


def model(pictures: Dataset, *, condition_drop: float = 0.1, dropout: float = 0.0) -> Model:
    """The tiny network with fresh weights, ready to be sampled from."""
    description = defaults.model_description(
        pictures,
        TrainConfig(condition_drop=condition_drop),
        {"network": {**NETWORK, "dropout": dropout}},
    )
    return build_model(description, "the tiny model")
