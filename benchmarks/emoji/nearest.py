"""Does the model compose or copy? The training pictures nearest to its samples, by two metrics."""

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
    """Pictures as rows [N, D], once as a judge's features and once as scaled pixels."""

    features: Tensor
    pixels: Tensor

    @staticmethod
    def of(features: Tensor, pictures: Tensor) -> Seen:
        """From features and pictures [N, 3, H, W]; pixel distances become RMS, black to white 1."""
        size = pictures[0].numel() ** 0.5
        return Seen(features, pictures.flatten(1) / (2 * size))

    def kinds(self) -> dict[str, Tensor]:
        """Both kinds of rows, by name."""
        return {"judge": self.features, "pixels": self.pixels}


def nearest(made: Seen, training: Seen) -> dict[str, Neighbours]:
    """The nearest training row for each sample, by the judge's features and by pixels."""
    pairs = zip(made.kinds().items(), training.kinds().values(), strict=True)
    return {kind: neighbours(*matrices(x, y)) for (kind, x), y in pairs}


def copies(
    made: Seen, asked: Pairs, training: Seen, known: Pairs, new: Seen, own: Seen
) -> dict[str, dict[str, float]]:
    """How close `made` is to the training pictures, and what the nearest ones show.

    new: held-out real pictures, for comparison; own: the real pictures of the requested pairs
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
            # only for training pairs: whether the pair's own picture is the nearest one
            "real one is nearest": float((mine <= near.distance * 1.00001).double().mean()),
            "closer than new real ones": against.closer,
        }
    return {kind: {k: round(v, 4) for k, v in said.items()} for kind, said in found.items()}


def draw(
    blocks: Sequence[tuple[str, Tensor, Tensor, dict[str, Neighbours]]],
    training: Tensor,
    path: Path,
) -> None:
    """Draws the first columns of each block (title, samples, real pictures, nearest pictures)."""
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
