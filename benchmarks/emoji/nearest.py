"""Does the model compose or copy: the training pictures nearest to what it draws, in two ways."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchmarks.emoji.samples import Pairs
from inkdrop.evaluate.matrix import Neighbours, matrices, neighbours
from inkdrop.evaluate.memorisation import memorisation
from inkdrop.explain.cells import Pictures
from inkdrop.explain.style import INK, plate, stacked
from inkdrop.explain.tiles import Labels, tiles, tiles_height
from inkdrop.files import replacing

SHOWN = 10


@dataclass(frozen=True, eq=False)
class Seen:
    """Pictures [N, 3, H, W], or what a judge says of them, as rows [N, D] of two kinds."""

    features: Tensor
    pixels: Tensor

    @staticmethod
    def of(features: Tensor, pictures: Tensor) -> Seen:
        """Distances of pixels are root mean squares, where black to white is 1."""
        size = pictures[0].numel() ** 0.5
        return Seen(features, pictures.flatten(1) / (2 * size))

    def kinds(self) -> dict[str, Tensor]:
        """Both, by name."""
        return {"judge": self.features, "pixels": self.pixels}


def nearest(made: Seen, training: Seen) -> dict[str, Neighbours]:
    """The nearest training row of each, by what the judge says and by pixels."""
    pairs = zip(made.kinds().items(), training.kinds().values(), strict=True)
    return {kind: neighbours(*matrices(x, y)) for (kind, x), y in pairs}


def copies(
    made: Seen, asked: Pairs, training: Seen, known: Pairs, new: Seen, own: Seen
) -> dict[str, dict[str, float]]:
    """How near `made` is to the training pictures, and what the nearest one is.

    new: real pictures that were left out, for comparison; own: the real ones of the asked pairs.
    """
    found = {}
    for kind, near in nearest(made, training).items():
        rows = [(p, q) for p, q in zip(asked.rows, known.rows[near.index.numpy()], strict=True)]
        about = asked.real.rows
        name, style = (
            torch.tensor([about[p][what] == about[q][what] for p, q in rows]).double()
            for what in ("caption", "style")
        )
        mine = (made.kinds()[kind] - own.kinds()[kind]).double().square().sum(1).sqrt()
        quantiles = near.distance.quantile(torch.tensor([0.05, 0.5], dtype=torch.float64))
        against = memorisation(made.kinds()[kind], training.kinds()[kind], new.kinds()[kind])
        found[kind] = {
            "median": float(quantiles[1]),
            "5 %": float(quantiles[0]),
            "nearest has the name": float(name.mean()),
            "nearest has the style": float(style.mean()),
            "median to the real one": float(mine.median()),
            # of a pair it learned from: the real one is the nearest of the training pictures
            "real one is nearest": float((mine <= near.distance * 1.00001).double().mean()),
            "closer than new real ones": against.closer,
        }
    return {kind: {k: round(v, 4) for k, v in said.items()} for kind, said in found.items()}


def draw(
    blocks: Sequence[tuple[str, Tensor, Tensor, dict[str, Neighbours]]],
    training: Tensor,
    path: Path,
) -> None:
    """For each block (title, pictures made, real ones, their nearest) the first few in columns."""
    columns = min(SHOWN, *(len(block[1]) for block in blocks))
    height = tiles_height(4, columns, Pictures().height(training.shape[1:]), width=6.6) + 0.45
    figure = plate("What the model draws, and the training pictures nearest to it",
                   height * len(blocks) + 0.6)  # fmt: skip
    for place, (title, made, real, near) in zip(stacked(figure, (1, 1)), blocks, strict=True):
        axes = figure.add_subplot(place)
        rows = [made[:columns], *(training[n.index[:columns]] for n in near.values())]
        names = ["drawn", "nearest, by the judge", "nearest, by pixels", "the real one"]
        tiles(axes, Pictures(), [*rows, real[:columns]], Labels(left=names))
        axes.set_title(title, loc="left", fontsize=10.5, color=INK)
    with replacing(path) as beside:
        figure.savefig(beside)


__all__ = ["Seen", "copies", "draw", "nearest"]
