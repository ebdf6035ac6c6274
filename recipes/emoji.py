"""The model in the box: emoji from words, in four styles.

    python recipes/emoji.py DATA/emoji64.parquet --out runs/emoji

Each stage resumes where it stopped; what was done is not done again.

    pictures      the rows to learn from, as a table; see `rows`
    autoencoder   64x64x3 <-> 16x16x8
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from inkdrop.data.open import open_data
from inkdrop.files import replacing
from inkdrop.train.autoencoder import train_autoencoder
from inkdrop.train.config import TrainConfig
from inkdrop.train.run import Ask, Event, Validated

# OpenMoji is share-alike, so it is left out of what ships.
STYLES = ("noto", "twemoji", "fluent-3d", "fluent-flat")
# What the model is to draw. The autoencoder sees all groups.
GROUPS = (
    "smileys-emotion", "animals-nature", "food-drink", "travel-places", "activities",
)  # fmt: skip
LEFT_OUT = Path(__file__).with_name("emoji_left_out.json")
LEFT_OUT_PAIRS = 200


def rows(data: Path) -> list[dict[str, Any]]:
    """All rows of the styles that ship."""
    return [row for row in pq.read_table(data).to_pylist() if row["style"] in STYLES]


def covered(row: dict[str, Any]) -> bool:
    """Whether the model is to know a row's name."""
    return row["group"] in GROUPS and row["skin_tone"] == "none"


def left_out(all_rows: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """The (name, style) pairs that no training sees: of names known in all four styles."""
    if not LEFT_OUT.is_file():
        styles = defaultdict(set)
        for row in all_rows:
            if covered(row):
                styles[row["caption"]].add(row["style"])
        names = sorted(name for name, found in styles.items() if len(found) == len(STYLES))
        rng = np.random.Generator(np.random.Philox(0))
        chosen = [names[int(i)] for i in np.argsort(rng.random(len(names)))[:LEFT_OUT_PAIRS]]
        pairs = sorted((name, STYLES[i % len(STYLES)]) for i, name in enumerate(chosen))
        with replacing(LEFT_OUT) as beside:
            beside.write_text(json.dumps(pairs, indent=0, ensure_ascii=False) + "\n")
    return {(name, style) for name, style in json.loads(LEFT_OUT.read_text())}


def pictures(data: Path, out: Path) -> Path:
    """The table to learn from: every row that ships and is not left out."""
    path = out / "pictures.parquet"
    if not path.is_file():
        everything = rows(data)
        hidden = left_out(everything)
        kept = [row for row in everything if (row["caption"], row["style"]) not in hidden]
        with replacing(path) as beside:
            pq.write_table(pa.Table.from_pylist(kept), beside)
    return path


def autoencoder(table: Path, out: Path, updates: int) -> Path:
    """Trains the autoencoder on all pictures; its run."""
    data = open_data(table, size=64, channels=3, label="style")
    run = out / "autoencoder"
    ask = Ask(TrainConfig(updates=updates, batch=32, condition_drop=0.0))
    for event in train_autoencoder(data, run, ask=ask):
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
    parser.add_argument("--out", type=Path, default=Path("runs/emoji"))
    parser.add_argument("--autoencoder-updates", type=int, default=3000)
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    table = pictures(asked.data, asked.out)
    autoencoder(table, asked.out, asked.autoencoder_updates)


if __name__ == "__main__":
    main()
