"""Where a scheduler of diffusers places its steps on a discrete table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.times import grid

# How schedulers place N steps on a table; None: by a rule of their own, which is not read here.
Rule = Literal["ddim", "multistep", "sigmas", "lcm"] | None
TimestepSpacing = Literal["leading", "trailing", "linspace"]


@dataclass(frozen=True)
class Spacing:
    """The rule by which a scheduler of diffusers places N steps on its table of T entries.

    rule: "ddim" and "sigmas" advance by T // N, "multistep" by T // (N + 1); on linspace "ddim" and
        "multistep" round to whole entries, the latter all but the last of N + 1. "lcm" takes N of
        the `original` timesteps that a student was trained on, and ignores the other fields
    kind: leading (from the data up), trailing (from the noise down) or linspace
    offset: steps_offset, which moves a leading grid towards noise, as far as the table goes
    first: the grid ends at the table's first entry, not at data (set_alpha_to_one false)
    named: the grid of this library that equals the scheduler's own, such as karras
    """

    rule: Rule = "ddim"
    kind: TimestepSpacing = "leading"
    offset: int = 0
    first: bool = False
    named: str | None = None
    original: int = 50

    def times(self, process: Discrete, steps: int) -> Tensor:
        """The grid on exactly the scheduler's timesteps: float64 [steps + 1], falling."""
        process.check_steps(steps)
        if self.named is not None:
            return grid(process, self.named, steps)
        if self.rule is None:
            raise ValueError(
                "this model's scheduler places its steps by a rule that is not read here; choose a"
                " grid"
            )
        entries = self._timesteps(process.steps, steps) + 1
        if bool((entries.diff() >= 0).any()):
            raise ValueError(
                f"steps is {steps}: this model's scheduler would visit a time twice; give fewer"
                " steps, or a grid"
            )
        if self.first and entries[-1] == 1:
            return entries / process.steps  # a last step from the first entry to itself is none
        end = torch.tensor([1.0 if self.first else 0.0], dtype=torch.float64)
        return torch.cat([entries, end]) / process.steps

    def _timesteps(self, table: int, steps: int) -> Tensor:
        """The scheduler's timesteps, falling, from 0 to table - 1: float64 [steps]."""
        if self.rule == "lcm":
            return _of_trained(table, self.original, steps)
        more = steps + 1 if self.rule == "multistep" else steps
        down = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        if self.kind == "trailing":
            return (table - torch.arange(steps, dtype=torch.float64) * (table / steps)).round() - 1
        if self.kind == "leading":
            stride = table // more
            # The noisiest time stays within the table.
            return (down + more - steps) * stride + min(
                self.offset, table - 1 - (more - 1) * stride
            )
        # As in numpy's linspace: where half an entry is rounded, the last bit decides.
        even = (down + more - steps) * ((table - 1) / max(more - 1, 1))
        return even if self.rule == "sigmas" else even.round()


def _of_trained(table: int, original: int, steps: int) -> Tensor:
    """Timesteps [steps] of a student that was trained on `original` of them (Luo et al. 2023)."""
    if not 1 <= steps <= original:
        raise ValueError(
            f"steps is {steps}, but this model knows {original} noise levels; give 1 to {original}"
            " steps"
        )
    down = torch.arange(original, 0, -1, dtype=torch.float64) * (table // original) - 1
    return down[(torch.arange(steps, dtype=torch.float64) * (original / steps)).long()]
