"""Evaluation: how to evaluate a run. It does not import torch, for a fast command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path

from inkdrop import limits
from inkdrop.config import option
from inkdrop.limits import check_seed, check_within
from inkdrop.tasks.sampling import Sampling
from inkdrop.train.config import JUDGE_TRAINING
from inkdrop.train.request import TrainRequest

UPDATES = 1000  # of a judge that is trained
LEAST = 6  # the fewest rows that every metric of `report.measure` can work with


@dataclass(frozen=True)
class Evaluation:
    """How to evaluate a run.

    sampling: how the samples are drawn
    training: how to train the judge, instead of the default training for `judge_updates` updates
    """

    count: int = option(1000, "How many samples, or reconstructions, to measure.")
    seed: int = option(0, "Seed of the samples and of their conditions.")
    batch: int = option(64, "How many samples to make at a time.")
    judge: Path | None = option(
        None, "Folder of a judge to measure with.", unset="one is trained on the data"
    )
    judge_updates: int = option(UPDATES, "Updates of a judge that is trained.")
    features: Path | None = option(
        None,
        "Folder of a transformers vision model to measure with, such as DINOv2.",
        unset="a judge",
    )
    sampling: Sampling = field(default_factory=Sampling)
    training: TrainRequest | None = None

    def __post_init__(self) -> None:
        check_within("count", self.count, LEAST, limits.SAMPLES)
        check_within("batch", self.batch, 1, limits.ROWS)
        check_seed(self.seed)
        check_within("judge_updates", self.judge_updates, 1, limits.UPDATES)
        if self.judge is not None and self.features is not None:
            raise ValueError("name either a judge or a pretrained network to measure by, not both")
        if self.judge_updates != UPDATES and (self.judge is not None or self.features is not None):
            raise ValueError(
                f"judge_updates is {self.judge_updates}, but no judge is trained where one or a"
                " pretrained network is named; leave it out"
            )

    @property
    def judging(self) -> TrainRequest:
        """How the judge is trained."""
        if self.training is not None:
            return self.training
        return TrainRequest(dataclasses.replace(JUDGE_TRAINING, updates=self.judge_updates))
