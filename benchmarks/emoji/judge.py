"""The emoji judge: its data, its training and its accuracy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.data.pictures.augment import Jitter, jitter
from inkdrop.evaluate.judge import UNKNOWN, Judge, accuracy
from inkdrop.events import Note
from inkdrop.files import replacing
from inkdrop.train.aims.judge import Head, load_judge, shape_for, train_judge
from inkdrop.train.config import TrainConfig
from inkdrop.train.events import Validated
from inkdrop.train.feed import split
from inkdrop.train.request import TrainRequest
from inkdrop.train.updates import Update
from recipes import emoji

TONES = ("none", "light", "medium-light", "medium", "medium-dark", "dark")
NAME, STYLE, TONE = "name", "style", "skin tone"
# Update number that keys the jitter in evaluation; training counts from 0 and never gets there.
UNSEEN = 2**62
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Real:
    """The real pictures, with their table rows and the judge's label sets."""

    data: Dataset
    rows: list[Row]
    heads: dict[str, Head]

    def number(self, name: str) -> int:
        """The judge's class index of a name."""
        return self.heads[NAME].names.index(name)


def bare(codepoints: str) -> tuple[str, ...]:
    """The code points without skin tones and variation selectors."""
    parts = codepoints.upper().split("-")
    return tuple(p for p in parts if p != "FE0F" and not (len(p) == 5 and "1F3FB" <= p <= "1F3FF"))


def open_real(table: Path, folder: Path) -> Real:
    """All pictures without a skin tone, and every third of the many that have one.

    A picture with a skin tone gets the name of the same emoji without one.
    """
    everything = emoji.rows(table)
    toned = [row for row in everything if row["skin_tone"] != "none"]
    rows = [row for row in everything if row["skin_tone"] == "none"] + toned[::3]
    path = folder / "real.parquet"
    if not path.is_file():
        with replacing(path) as beside:
            pq.write_table(pa.Table.from_pylist(rows), beside)
    data = open_data(path, size=64, channels=3, label="style")
    named = {bare(row["codepoints"]): row["caption"] for row in rows if row["skin_tone"] == "none"}
    names = tuple(sorted(set(named.values())))
    index = {name: i for i, name in enumerate(names)}
    labels = {
        NAME: ([index[named[bare(row["codepoints"])]] for row in rows], names),
        STYLE: ([emoji.STYLES.index(row["style"]) for row in rows], emoji.STYLES),
        TONE: ([TONES.index(row["skin_tone"]) for row in rows], TONES),
    }
    heads = {name: Head(np.array(found), known) for name, (found, known) in labels.items()}
    return Real(data, rows, heads)


def train(real: Real, run: Path, updates: int) -> None:
    """Trains the judge, or resumes its training."""
    shape = shape_for(real.data, {name: head.names for name, head in real.heads.items()})
    shape = replace(shape, patch=2, widths=(32, 64, 128, 192), features=96)
    config = TrainConfig(
        updates=updates, batch=64, lr=2e-3, warmup=200, weight_decay=0.02, ema=0.998,
        condition_drop=0.0, compile="on",
    )  # fmt: skip
    for event in train_judge(real.data, run, real.heads, shape, request=TrainRequest(config)):
        if isinstance(event, Update) and (event.index + 1) % 100 == 0:
            print(f"update {event.index + 1} of {event.total}: loss {event.loss:.3f}", flush=True)
        elif isinstance(event, Validated):
            print(f"held-out loss {event.loss:.3f}", flush=True)
        elif isinstance(event, Note):
            print(event.text, flush=True)


def right(real: Real, run: Path) -> dict[str, dict[str, float]]:
    """The judge's top-1 and top-5 accuracy on real pictures, both unchanged and jittered."""
    judge = load_judge(run)
    numbered = replace(real.data, labels=np.arange(len(real.data)), label_names=())
    held = split(numbered, 0)[1]
    assert held is not None and held.labels is not None
    plain = [i for i, row in enumerate(real.rows) if row["skin_tone"] == "none"]
    known = [i for i in plain if emoji.covered(real.rows[i])]
    hidden = set(held.labels.tolist())
    sets = {
        "all names, jittered": (plain, True),
        "all names": (plain, False),
        "covered names, jittered": (known, True),
        "covered names": (known, False),
        "held out, no tone": ([i for i in plain if i in hidden], False),
        "held out, all": (sorted(hidden), False),
    }
    found = {}
    for what, (rows, changed) in sets.items():
        said: dict[str, float] = {"pictures": len(rows)}
        batches = list(_batches(real, np.array(rows), changed))
        for k in (1, 5):
            for head, share in accuracy(judge, batches, k=k).items():
                if k < len(real.heads[head].names):
                    said[f"{head}, top {k}"] = round(share, 4)
        found[what] = said
    return found


def _batches(
    real: Real, rows: np.ndarray, changed: bool
) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
    for number, first in enumerate(range(0, len(rows), 128)):
        some = rows[first : first + 128]
        x = real.data.take(some)
        if changed:
            x = jitter(x, Jitter(), 0, UNSEEN + number)
        yield x, {name: torch.from_numpy(head.labels[some]) for name, head in real.heads.items()}


def said(judge: Judge, pictures: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Features [N, D] and logits of every head for pictures in [-1, 1]."""
    with torch.no_grad():
        features = torch.cat([judge.features(part) for part in pictures.split(128)])
        h = torch.nn.functional.silu(features)
        pairs = zip(judge.config.heads, judge.heads, strict=True)
        return features, {name: head(h) for name, head in pairs}


__all__ = ["NAME", "STYLE", "TONE", "UNKNOWN", "Real", "open_real", "right", "said"]
