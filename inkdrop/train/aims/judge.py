"""Training a judge: a classifier of a data set's pictures, trained with random augmentation.

Without labels it learns to predict by how much a picture was rotated (Gidaris et al. 2018). That
requires recognising what the picture shows, so the features are useful for evaluation.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inkdrop.config import dump, parse
from inkdrop.data.dataset import Dataset
from inkdrop.data.order import batch_indices, words
from inkdrop.data.pictures.augment import Jitter, jitter
from inkdrop.digest import digest
from inkdrop.evaluate.judge import (
    UNKNOWN,
    Judge,
    JudgeConfig,
    accuracy,
    cross_entropies,
    judge_description,
)
from inkdrop.events import Note
from inkdrop.runs import own_folder
from inkdrop.train.aim import Aim
from inkdrop.train.config import JUDGE_TRAINING, TrainConfig
from inkdrop.train.events import Event
from inkdrop.train.feed import HeldOut, called, split
from inkdrop.train.objective import Batch
from inkdrop.train.parallel import World
from inkdrop.train.precision import autocast
from inkdrop.train.request import TrainRequest
from inkdrop.train.run import train
from inkdrop.train.turn import Turn

TURNED = "turned"


@dataclass(frozen=True)
class Head:
    """A label set: for each picture, an index into `names` or UNKNOWN."""

    labels: NDArray[np.int64]
    names: tuple[str, ...]

    def check(self, name: str, count: int) -> None:
        """ValueError unless there is one valid label for each of `count` pictures."""
        known = self.labels[self.labels != UNKNOWN]
        wrong = len(known) and (known.min() < 0 or known.max() >= len(self.names))
        if self.labels.shape != (count,) or wrong:
            raise ValueError(
                f"head {name!r} has {len(self.labels)} labels for {count} pictures; give one each,"
                f" from 0 to {len(self.names) - 1} or {UNKNOWN} where it is not known"
            )


@dataclass(frozen=True)
class Labelled(Batch):
    """Pictures with their labels, [B] int64 for each head."""

    labels: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)


@dataclass(frozen=True)
class JudgeFeed:
    """Jittered pictures with their labels; `data.labels` holds row numbers into `heads`' labels.

    heads: None to predict the rotation instead; see `turns`
    """

    data: Dataset
    config: TrainConfig
    device: torch.device
    heads: Mapping[str, Head] | None
    how: Jitter

    def __call__(self, update: int, rows: range) -> Labelled:
        config = self.config
        indices = batch_indices(len(self.data), config.batch, config.seed, update)
        turned = words(config.batch, config.seed, update, purpose=5) % np.uint64(4)
        part = slice(rows.start, rows.stop)
        batch = self.gathered(indices[part], turned[part].astype(np.int64))
        x0 = jitter(batch.x0, self.how, config.seed, update, first=rows.start)
        return dataclasses.replace(batch, x0=x0)

    def gathered(self, indices: NDArray[np.int64], turned: NDArray[np.int64]) -> Labelled:
        """These pictures, unchanged or, if the target is the rotation, rotated by `turned`."""
        x = self.data.take(indices)
        if self.heads is None:
            names = turns(self.data)
            turned = turned % len(names)
            steps = 4 // len(names)  # of a quarter
            pairs = zip(x, turned.tolist(), strict=True)
            x = torch.stack([p.rot90(steps * k, (1, 2)) for p, k in pairs])
            labels = {TURNED: torch.from_numpy(turned)}
        else:
            assert self.data.labels is not None
            own = self.data.labels[indices]
            labels = {n: torch.from_numpy(head.labels[own]) for n, head in self.heads.items()}
        there = {name: value.to(self.device) for name, value in labels.items()}
        return Labelled(x.to(self.device), called=called(self.data, indices), labels=there)

    def held(self) -> HeldOut:
        """The pictures in order, without jitter."""

        def batch(rows: range) -> Batch:
            numbers = np.arange(rows.start, rows.stop)
            return self.gathered(numbers, numbers % 4)

        return HeldOut(self.data, batch)


@dataclass(frozen=True)
class Candidate:
    """What a run of a judge trains."""

    network: nn.Module

    def write(self, folder: Path) -> None:
        """Writes its files into an existing folder."""
        cast(Judge, self.network).write(folder)


def objective(model: Candidate, config: TrainConfig, batch: Batch, turn: Turn) -> Tensor:
    """The loss [B] of each row: the cross-entropies of all heads."""
    labelled = cast(Labelled, batch)
    with autocast(config, labelled.x0.device):
        logits = model.network(labelled.x0)
    return cross_entropies(logits, labelled.labels)


def turns(data: Dataset) -> tuple[str, ...]:
    """The class names of a head for data without labels: the rotation in degrees."""
    square = data.shape[1] == data.shape[2]
    return ("0", "90", "180", "270") if square else ("0", "180")


def own_heads(data: Dataset) -> dict[str, Head] | None:
    """The data's own labels as a head, or None if it has fewer than two classes."""
    if data.labels is None or len(data.label_names) < 2:
        return None
    return {"label": Head(data.labels, data.label_names)}


def shape_for(data: Dataset, heads: Mapping[str, Sequence[str]]) -> JudgeConfig:
    """A judge for pictures of this shape; from 64 pixels on it reads patches of 2 or more."""
    size, patch = min(data.shape[1:]), 1
    while size // patch >= 64 and not any(side % (2 * patch) for side in data.shape[1:]):
        patch *= 2
    widths = (32, 64, 128)[: max(1, (size // patch).bit_length() - 2)]
    names = {name: tuple(labels) for name, labels in heads.items()}
    return JudgeConfig(names, channels=data.shape[0], patch=patch, widths=widths)


def train_judge(
    data: Dataset,
    out: str | Path,
    heads: Mapping[str, Head] | None = None,
    shape: JudgeConfig | None = None,
    how: Jitter | None = None,
    request: TrainRequest | None = None,
    *,
    world: World | None = None,
) -> Iterator[Event]:
    """Trains a judge on `data` in the run folder `out`; yields the events of `run.train`.

    heads: label sets by name; by default the data's own labels or, if it has none, the rotation

    The last event is a Note with the accuracy on held-out pictures. ValueError if data, heads and
    shape do not fit together.
    """
    heads = heads or own_heads(data)
    how, world = how or Jitter(), world or World()
    request = request or TrainRequest(JUDGE_TRAINING)
    shape = _checked(data, heads, shape)
    # Row numbers as labels: subsets keep labels, so each picture still finds its row in the heads.
    numbered = dataclasses.replace(data, labels=np.arange(len(data)), label_names=())
    aim = judge_aim(shape, heads, how)
    yield from train(numbered, out, request, aim=aim, world=world)
    held = split(numbered, request.config.seed)[1]
    if held is not None and not world.stop.is_set() and world.main:
        cpu = torch.device("cpu")
        yield Note(_accuracy(load_judge(out), aim.held(held, request.config, cpu)))


def _checked(
    data: Dataset, heads: Mapping[str, Head] | None, shape: JudgeConfig | None
) -> JudgeConfig:
    """The judge's shape; ValueError if data, heads and shape do not fit together."""
    for name, head in (heads or {}).items():
        head.check(name, len(data))
    names = {TURNED: turns(data)} if heads is None else {n: h.names for n, h in heads.items()}
    shape = shape or shape_for(data, names)
    if shape.heads != names or shape.channels != data.shape[0]:
        raise ValueError(
            f"the judge has heads {', '.join(shape.heads)} for {shape.channels} channels, but the"
            f" data has {', '.join(names)} and {data.shape[0]}; start from shape_for(data, heads)"
        )
    return shape


def judge_aim(shape: JudgeConfig, heads: Mapping[str, Head] | None, how: Jitter) -> Aim:
    """The aim for a judge of this shape, on data whose labels are row numbers into the heads."""
    about = judge_description(shape)
    parts = [] if heads is None else [p for n, h in heads.items() for p in (n, h.labels, h.names)]

    def build(description: Mapping[str, Any], where: str) -> Candidate:
        return Candidate(Judge(parse(JudgeConfig, description["judge"], where)))

    def feed(data: Dataset, config: TrainConfig, device: torch.device) -> JudgeFeed:
        return JudgeFeed(data, config, device, heads, how)

    return Aim(
        objective=objective,
        describe=lambda data, request: about,
        build=build,
        picture=lambda trained, held: None,
        feed=feed,
        held=lambda data, config, device: feed(data, config, device).held(),
        record={"judge": dump(shape), "labels": digest(parts), "jitter": dump(how)},
    )


def load_judge(folder: str | Path) -> Judge:
    """The judge in a folder or in a run's newest intact checkpoint; ValueError if there is none."""
    return Judge.load(own_folder(folder)[0])


def _accuracy(judge: Judge, held: HeldOut) -> str:
    count = len(held.data)
    parts = (cast(Labelled, held(range(i, min(i + 64, count)))) for i in range(0, count, 64))
    found = accuracy(judge, ((part.x0, part.labels) for part in parts))
    said = ", ".join(f"{name} {share:.1%}" for name, share in found.items())
    return f"right on {count} held-out pictures: {said}"
