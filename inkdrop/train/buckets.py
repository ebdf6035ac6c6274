"""Training on pictures of several sizes; all pictures in a batch have the same size.

data, aim = over_buckets(open_buckets("photos", size=64, least=32))
for event in train(data, "runs/photos", aim=aim): ...
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from inkdrop.data.dataset import Dataset
from inkdrop.data.order import bucket_turn
from inkdrop.train.aim import DIFFUSION, Aim
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import Batch, Batches


@dataclass(frozen=True)
class BucketFeed:
    """One feed for each size; (seed, update) decides which of them an update draws from.

    counts: the number of pictures in each
    """

    feeds: tuple[Batches, ...]
    counts: tuple[int, ...]
    config: TrainConfig

    def __call__(self, update: int, rows: range) -> Batch:
        config = self.config
        bucket, turn = bucket_turn(self.counts, config.batch, config.seed, update)
        return self.feeds[bucket](turn, rows)


def over_buckets(parts: Sequence[Dataset], aim: Aim = DIFFUSION) -> tuple[Dataset, Aim]:
    """(data, aim) for `run.train`, to train on data sets of several sizes.

    The returned data is the part with the most pictures. Its size becomes the model's own, and all
    held-out pictures come from it. ValueError if the parts differ in more than their size.
    """
    if not parts:
        raise ValueError("there are no buckets to train on; open some with open_buckets")
    main = max(parts, key=len)
    for part in parts:
        if part.shape[0] != main.shape[0] or part.label_names != main.label_names:
            raise ValueError(
                f"the buckets {part.describe()} and {main.describe()} differ in channels or labels;"
                " open them together with open_buckets"
            )

    def feed(training: Dataset, config: TrainConfig, device: torch.device) -> BucketFeed:
        several = [training if part is main else part for part in parts]
        feeds = tuple(aim.feed(part, config, device) for part in several)
        return BucketFeed(feeds, tuple(map(len, several)), config)

    record = {**(aim.record or {}), "buckets": [part.fingerprint for part in parts]}
    return main, dataclasses.replace(aim, feed=feed, record=record)
