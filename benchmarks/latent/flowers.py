"""Samples from the model of recipes/flowers.py: docs/pictures/flowers.png.

    python -m benchmarks.latent.flowers runs/flowers

Five rows by class and five by prompt, each with eight samples of one seed.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from benchmarks import places
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Condition, Model, Prompt
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many

WORDS = (
    "a photo of a rose",
    "a photo of a sunflower",
    "a photo of a tulip",
    "a photo of a dandelion",
    "a photo of a daisy",
)
COLUMNS = 8


def main() -> None:
    """Draws the samples and writes the picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("-o", "--out", type=Path, default=places.PICTURES / "flowers.png")
    asked = parser.parse_args()
    model = Model.load(own_folder(asked.run)[0])
    rows: list[Condition] = [*model.classes, *(Prompt(words) for words in WORDS)]
    drawn = [
        generate_many(model, seed=1, count=COLUMNS, conditions=[row] * COLUMNS) for row in rows
    ]
    save_image(sheet(torch.cat(drawn).clamp(-1, 1), columns=COLUMNS), asked.out)


if __name__ == "__main__":
    main()
