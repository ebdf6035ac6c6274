"""TrainRequest: the settings of a run, apart from its data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from inkdrop.config import option
from inkdrop.limits import MINUTES
from inkdrop.train.config import TrainConfig


@dataclass(frozen=True)
class TrainRequest:
    """The settings of a run, apart from its data.

    config: everything that affects the result; if `minutes` is given, the first start replaces
    its updates by the number that fits
    model: parts of model.json that replace the default ones
    source: how the data was opened, recorded for later commands

    config, minutes, model and the data itself must stay the same when a run is resumed.
    """

    config: TrainConfig = dataclasses.field(default_factory=TrainConfig)
    minutes: float | None = option(
        None,
        "Train for about this long: the number of updates is measured at the start.",
        unset="as many updates as asked for",
    )
    model: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    save_every: int | None = option(None, "Updates between checkpoints.", unset="two minutes")
    source: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.minutes is not None and not 0 < self.minutes <= MINUTES:
            raise ValueError(
                f"minutes is {self.minutes}: it must be above 0, and at most {MINUTES:,}"
            )
        if self.save_every is not None and self.save_every < 1:
            raise ValueError(f"save_every is {self.save_every}: it must be at least 1")
