"""Tiny models, and pictures or series, to explain."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.explain.subject import Subject
from inkdrop.model import Model
from inkdrop.model.folder import build_model


def data(folder: Path, *, channels: int = 1, count: int = 20, labels: bool = False) -> Dataset:
    """`count` random pictures of 8x8; labels alternate between two classes."""
    values = np.random.default_rng(0).integers(0, 256, (count, channels, 8, 8), dtype=np.uint8)
    path = folder / f"pictures{channels}.npz"
    fields: dict[str, Any] = {"images": values}
    if labels:
        fields["labels"] = np.arange(count) % 2
    np.savez(path, **fields)
    return open_data(path, channels=channels if channels in (1, 3) else None)


def waves(
    folder: Path, *, channels: int = 1, length: int = 24, count: int = 20, labels: bool = False
) -> Dataset:
    """`count` series of sines with values from about -30 to 30; labels alternate."""
    rng, across = np.random.default_rng(0), np.linspace(0, 1, length)
    times = rng.integers(1, 4, (count, channels, 1))
    values = 30 * np.sin(2 * np.pi * (times * across + rng.uniform(0, 1, (count, channels, 1))))
    fields: dict[str, Any] = {"x": values.astype(np.float32)}
    if labels:
        fields["y"] = np.arange(count) % 2
    path = folder / f"waves{channels}.npz"
    np.savez(path, **fields)
    return open_data(path)


def model(data: Dataset, process: dict[str, Any] | None = None, **spec: Any) -> Model:
    """A U-Net of width 8 with random weights, the last layer's included."""
    labels = data.label_names if data.labels is not None else ()
    description = {
        "format_version": 1,
        "process": process or {"kind": "discrete", "schedule": "cosine", "steps": 50},
        "parameterization": {"kind": "edm"},
        "network": {
            "kind": "unet", "dims": len(data.shape) - 1, "in_channels": data.shape[0],
            "width": 8, "multipliers": (1, 2),
            "blocks": 1, "attention": (), "middle_attention": False, "norm_groups": 4,
            "head_channels": 8, "num_classes": len(labels) or None,
        },
        "codec": {"kind": "identity"},
        "spec": {
            "shape": data.shape, "labels": labels, "medium": data.medium,
            "span": data.span, **spec,
        },
    }  # fmt: skip
    torch.manual_seed(0)
    made = build_model(description, "the test's model")
    for weight in made.network.parameters():
        if not weight.any():  # a fresh network ends in zeros and would say nothing
            torch.nn.init.normal_(weight, std=0.05)
    made.network.eval().requires_grad_(False)
    return made


def subject(folder: Path, process: dict[str, Any] | None = None, **options: Any) -> Subject:
    """A tiny model with its pictures."""
    pictures = data(folder, **options)
    return Subject(model(pictures, process), pictures)


def series(folder: Path, process: dict[str, Any] | None = None, **options: Any) -> Subject:
    """A tiny model over one axis with its series."""
    found = waves(folder, **options)
    return Subject(model(found, process), found)
