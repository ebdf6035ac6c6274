"""How to sample, as one frozen value of plain numbers and names."""

from __future__ import annotations

from dataclasses import dataclass

from inkdrop.arguments import check_fields
from inkdrop.conditions import Condition
from inkdrop.config import choose, option
from inkdrop.limits import SCALE, STEPS, check_files, check_text, check_within

RULES = ("cfg", "apg", "cfg++")


@dataclass(frozen=True)
class Sampling:
    """How to sample; None means the model's own default, or what was measured best."""

    steps: int | None = option(
        None, "Number of steps.", unset="the model's own", names=("--num-inference-steps",)
    )
    sampler: str | None = option(
        None,
        "Sampler, such as dpmpp_2m, or own for the model's scheduler; see `inkdrop samplers`.",
        unset="the best measured",
    )
    grid: str | None = option(
        None,
        "Spacing of the steps, such as logsnr, karras:7 or tuned; see `inkdrop samplers`.",
        unset="tuned for this model and steps, or the best measured",
    )
    eta: float | None = option(
        None, "Fresh noise in every step, from 0 (DDIM) to 1 (DDPM).", unset="the sampler's own"
    )
    tolerance: float | None = option(
        None, "Error allowed per step; only for the sampler adaptive.", unset="0.002"
    )
    guidance: float | None = option(
        None,
        "Strength of guidance; 1 or 0 is none: the plain conditional model.",
        unset="the model's own",
        names=("--cfg", "--guidance-scale"),
    )
    rule: str = option("cfg", "How guidance combines its two predictions: cfg, apg or cfg++.")
    rescale: float = option(0.0, "Restore the spread of x_0 after guidance, from 0 to 1.")
    interval: tuple[float, float] | None = option(
        None,
        "Guide only between these two noise levels sigma / alpha.",
        unset="at all levels",
        metavar="LOW HIGH",
    )
    negative: Condition | None = option(
        None, "Words or a class to guide away from.", names=("--negative-prompt",)
    )
    also: tuple[tuple[Condition, float], ...] = option(
        (), "One more class or prompt to guide towards, with its weight.", metavar="WHAT WEIGHT"
    )
    picture_guidance: float | None = option(
        None, "Strength of the original picture in an edit.", unset="1.5"
    )
    threshold: float | None = option(
        None, "Clip x_0 at this quantile of each sample.", unset="clip at 1 where pixels are made"
    )
    two_calls: bool = option(False, "Guide in two calls instead of one of twice the size.")
    reuse: int = option(1, "Compute the network's deep features only every N calls.", metavar="N")

    def __post_init__(self) -> None:
        check_fields(self)
        choose("guidance rule", self.rule, dict.fromkeys(RULES))
        check_within("steps", self.steps, 1, STEPS)
        check_within("reuse", self.reuse, 1, STEPS)
        for name in ("guidance", "picture_guidance"):
            check_within(name, getattr(self, name), -SCALE, SCALE)
        for name in ("eta", "rescale", "threshold"):
            check_within(name, getattr(self, name), 0, 1)
        check_files("--also", self.also)
        check_text("negative", self.negative)
        for what, weight in self.also:
            check_text("also", what)
            check_within(f"the weight of also {str(what)[:80]!r}", weight, -SCALE, SCALE)
        self.check_ways(weak=False)

    def strength(self, own: float) -> float:
        """The strength of guidance; own: that of the model, where none is asked for.

        0 means what it does in other programs, no guidance, so it is 1: by the formula it would
        ignore the condition. Samples without a condition are asked for by the empty prompt.
        """
        return (own if self.guidance is None else self.guidance) or 1.0

    def check_ways(self, *, weak: bool) -> None:
        """ValueError if two ways of guidance are combined; weak: there is also a weaker model."""
        ways = {
            f"rule {self.rule!r}": self.rule != "cfg",
            "rescale": bool(self.rescale),
            "weak": weak,
            "also": bool(self.also),
            "picture_guidance": self.picture_guidance is not None,
        }
        chosen = [name for name, used in ways.items() if used]
        if len(chosen) > 1:
            raise ValueError(f"{chosen[0]} and {chosen[1]} are two ways of guidance; choose one")


DEFAULT = Sampling()
