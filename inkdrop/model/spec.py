"""A model's shape, classes and sampling defaults: the part of model.json besides its networks."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from inkdrop.arguments import check_fields
from inkdrop.diffusion.spacing import Spacing

# No real model exceeds these, which protect memory: the numbers in one sample, and the size of a
# number of a tuned grid.
MOST_NUMBERS, LARGEST = 1 << 28, 1_000_000


@dataclass(frozen=True)
class Tuned:
    """A grid fitted to this model: `times` [steps + 1], falling, for `steps` steps of `sampler`.

    weights: one row per step for the sampler "fitted"; empty for any other. ValueError otherwise.
    """

    steps: int
    sampler: str
    times: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        check_fields(self)
        falling = all(s < t for t, s in zip(self.times, self.times[1:], strict=False))
        if self.steps < 1 or len(self.times) != self.steps + 1 or not falling:
            raise ValueError(
                f"a tuned grid of {self.steps} steps has {len(self.times)} times: it needs one more"
                " time than steps, each smaller than the one before"
            )
        numbers = (*self.times, *(weight for row in self.weights for weight in row))
        if not all(abs(number) <= LARGEST for number in numbers):
            raise ValueError(
                f"a tuned grid of {self.steps} steps has numbers beyond {LARGEST:,}; tune it again"
            )
        if len(self.weights) != (self.steps if self.sampler == "fitted" else 0):
            raise ValueError(
                f"{self.sampler} on a tuned grid of {self.steps} steps has {len(self.weights)} rows"
                " of weights: 'fitted' needs one per step, and other samplers none"
            )


@dataclass(frozen=True)
class Own:
    """A scheduler that came with a model from another library: what the sampler "own" follows.

    scheduler: its class there
    sampler: the sampler that computes the same; None: none does
    spacing: where it places its steps
    missing: why no sampler does
    """

    scheduler: str
    sampler: str | None
    spacing: Spacing
    missing: str = ""


@dataclass(frozen=True)
class Spec:
    """What a model makes, and its defaults for sampling.

    shape: [C, *sizes] of one sample in data space; labels: the names of its classes, if any
    medium: the kind of data, a key of `registry.MEDIA`
    span: the values that map to -1 and 1, for media whose files have their own units (series)
    condition_drop: how often training replaced the condition by null, in [0, 1); 0: no null
    clip: clip x_0 to [-1, 1] while sampling; learned_variance: the network's output is [B, 2C, ...]
    told_guidance: the guidance scale is an input of the network (cond.guidance), in a single call
    any_size: it also makes other sizes than its shape's, as Stable Diffusion does
    sampler, grid, steps, guidance: the defaults of sampling; None for a sampler or grid is the
    best measured at the requested steps; tuned: grids fitted to this model; own: the scheduler
    that came with it
    notes: further facts by name, such as "concat", the extra input channels that it needs
    """

    shape: tuple[int, ...]
    labels: tuple[str, ...] = ()
    medium: str = "picture"
    span: tuple[float, float] = (-1.0, 1.0)
    condition_drop: float = 0.0
    clip: bool = True
    learned_variance: bool = False
    told_guidance: bool = False
    any_size: bool = False
    sampler: str | None = None
    grid: str | None = None
    steps: int = 20
    guidance: float = 1.0
    tuned: tuple[Tuned, ...] = ()
    own: Own | None = None
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ValueError(
                f"shape is {self.shape}: it must be channels and at least one size, all above 0"
            )
        if math.prod(self.shape) > MOST_NUMBERS:
            raise ValueError(
                f"shape is {self.shape}: a sample may have at most {MOST_NUMBERS:,} numbers"
            )
        if not all(map(math.isfinite, (*self.span, self.guidance))) or self.steps < 1:
            raise ValueError(
                f"span is {self.span}, guidance {self.guidance} and steps {self.steps}: they must"
                " be finite, and steps at least 1"
            )
        if not self.span[0] < self.span[1]:
            raise ValueError(f"span is {self.span}: the lower value must come first")
        if not 0 <= self.condition_drop < 1:
            raise ValueError(
                f"condition_drop is {self.condition_drop}: it must be at least 0 and below 1"
            )
