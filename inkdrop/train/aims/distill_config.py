"""DistillConfig: what a student learns. It does not import torch, for a fast command line."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from inkdrop.arguments import check_fields
from inkdrop.config import choose, option
from inkdrop.limits import SCALE, STEPS, check_within

FINEST = 128  # the usual number of steps at the end of training

Metric = Literal["squared", "huber"]

METHODS: dict[str, str] = {
    "rollout": "the teacher goes all the way to the segment's end",
    "consistency": "the teacher takes one short step and the student predicts the rest",
    "training": "the data itself takes one short step and the student predicts the rest",
}


@dataclass(frozen=True)
class DistillConfig:
    """What the student learns; how it is trained is up to a TrainConfig.

    A teacher that is itself a student takes its own steps, and `teacher_steps` is ignored. Methods
    other than rollout start with an eighth of the `finest` steps and double them three times.
    For the pseudo-Huber metric see Song and Dhariwal 2023, section 3.3.
    """

    steps: int = option(4, "Network calls with which the student samples.")
    method: str = option("rollout", "How it learns: rollout, consistency or training.")
    guidance: float | None = option(
        None, "Guidance scale that is built into the student.", unset="the teacher's own"
    )
    teacher_steps: int | None = option(
        None,
        "Steps of the teacher from noise to data, for rollout.",
        unset="16, or two for each of the student's if that is more",
    )
    finest: int = option(
        FINEST, "Steps from noise to data at the end of training, for the other methods."
    )
    metric: Metric = option("squared", "Measure of the student's error: squared or huber.")

    def __post_init__(self) -> None:
        check_fields(self)
        choose("distillation method", self.method, METHODS)
        for name in ("steps", "finest", "teacher_steps"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} is {value}: it must be at least 1")
            check_within(name, value, 1, STEPS)
        check_within("guidance", self.guidance, -SCALE, SCALE)
        unused = "finest" if self.method == "rollout" else "teacher_steps"
        if getattr(self, unused) not in (None, FINEST):
            raise ValueError(
                f"{unused} is {getattr(self, unused)}, but the method {self.method!r} does not use"
                " it; leave it out"
            )
        if self.teacher_steps is not None and self.teacher_steps <= self.steps:
            raise ValueError(
                f"teacher_steps is {self.teacher_steps}: the teacher must make more steps than the"
                f" student's {self.steps}"
            )
