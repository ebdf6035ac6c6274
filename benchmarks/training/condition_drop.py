"""The effect of condition dropping in training: three runs, sampled at guidance 1, 3 and 6.

`python -m benchmarks.training.condition_drop` trains digits with drop rates of 0, 0.1 and 0.2 and
draws docs/pictures/condition_drop.png. With a rate of 0 there is no null condition, so guidance is
an error; those cells say so instead of showing samples.
"""

from __future__ import annotations

import argparse

from PIL import Image, ImageDraw

from benchmarks import places
from inkdrop.data.open import open_data
from inkdrop.media.sheet import save_image, sheet
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.tasks.generate import generate_many
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import TrainConfig
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train

PICTURE = places.PICTURES / "condition_drop.png"
DROPS, SCALES, DIGITS = (0.0, 0.1, 0.2), (1.0, 3.0, 6.0), ("2", "5", "8")


def trained(drop: float, updates: int) -> Model:
    """A digits model with this drop rate; a stopped run resumes."""
    out = places.WORK / f"condition-drop-{drop}"
    for _ in train(
        open_data("digits"), out, TrainRequest(TrainConfig(updates=updates, condition_drop=drop))
    ):
        pass
    return Model.load(own_folder(out)[0])


def cell(model: Model, scale: float) -> Image.Image | str:
    """A grid of samples, or a note that guidance is not available."""
    labels = [digit for digit in DIGITS for _ in range(4)]
    try:
        x = generate_many(
            model, seed=0, count=len(labels), conditions=labels, sampling=Sampling(guidance=scale)
        )
    except ValueError:
        return "no null condition:\nguidance is refused"
    return sheet(x, columns=4, scale=5)


def draw(rows: list[list[Image.Image | str]]) -> Image.Image:
    """The labelled figure: drop rates in rows, guidance scales in columns."""
    size = next(c for row in rows for c in row if not isinstance(c, str)).size
    left, top, gap = 90, 24, 12
    width = left + len(SCALES) * (size[0] + gap)
    sheet = Image.new("RGB", (width, top + len(rows) * (size[1] + gap)), "white")
    pen = ImageDraw.Draw(sheet)
    for j, scale in enumerate(SCALES):
        pen.text((left + j * (size[0] + gap), 6), f"guidance {scale:g}", fill="#12355b")
    for i, row in enumerate(rows):
        y = top + i * (size[1] + gap)
        pen.text((8, y + 8), f"drop {DROPS[i]:g}", fill="#12355b")
        for j, content in enumerate(row):
            x = left + j * (size[0] + gap)
            if isinstance(content, str):
                pen.text((x, y + 8), content, fill="#888888")
            else:
                sheet.paste(content, (x, y))
    return sheet


def main() -> None:
    """Trains the three models and draws the figure."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--updates", type=int, default=800)
    updates = parser.parse_args().updates
    models = [trained(drop, updates) for drop in DROPS]
    save_image(draw([[cell(model, scale) for scale in SCALES] for model in models]), PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
