"""What a model makes and how it is best asked: the part of model.json that is not its networks."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Tuned:
    """A grid fitted to this model: `times`, steps + 1 of them, for `steps` steps of `sampler`.

    weights: of the sampler "fitted", one row a step; empty for any other.
    """

    steps: int
    sampler: str
    times: tuple[float, ...]
    weights: tuple[tuple[float, ...], ...] = ()

    def __post_init__(self) -> None:
        falling = all(s < t for t, s in zip(self.times, self.times[1:], strict=False))
        if self.steps < 1 or len(self.times) != self.steps + 1 or not falling:
            raise ValueError(
                f"a tuned grid of {self.steps} steps has {len(self.times)} times: it needs one more"
                " than steps, each below the one before"
            )
        if len(self.weights) != (self.steps if self.sampler == "fitted" else 0):
            raise ValueError(
                f"{self.sampler} on a tuned grid of {self.steps} steps has {len(self.weights)} rows"
                " of weights: 'fitted' needs one a step, others none"
            )


@dataclass(frozen=True)
class Spec:
    """What a model makes and how it is best asked.

    shape: of one sample in data space [C, *sizes]; labels: names of its classes, if any;
    medium: what a sample is, a key of `registry.MEDIA`; span: the values that -1 and 1 stand for in
    files of a medium whose units are its own, such as series;
    condition_drop: how often training replaced the condition by null (0 = it has no null);
    clip: hold x_0 in [-1, 1] while sampling; learned_variance: the network says [B, 2C, ...];
    told_guidance: the network is told how strongly to guide (cond.guidance) and called once
    any_size: it makes data of other sizes than its shape's too, as Stable Diffusion does
    sampler, grid, steps, guidance: the defaults of sampling; a sampler or a grid of None is the
    one measured best at the steps asked for; tuned: grids fitted to this model.
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
    notes: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if len(self.shape) < 2 or min(self.shape) < 1:
            raise ValueError(f"shape is {self.shape}: channels and at least one size, all above 0")
        if not self.span[0] < self.span[1]:
            raise ValueError(f"span is {self.span}: the lowest value comes first, then the highest")
        if not 0 <= self.condition_drop < 1:
            raise ValueError(
                f"condition_drop is {self.condition_drop}: it is a probability below 1"
            )
