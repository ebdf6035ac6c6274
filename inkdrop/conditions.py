"""What one sample is asked to be: a class, a prompt, or a point between two prompts."""

from __future__ import annotations

import numbers
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Prompt:
    """What one sample is asked to be: words, and a class such as a style (None: any)."""

    text: str = ""
    label: str | int | None = None


@dataclass(frozen=True)
class Between:
    """What one sample is asked to be: a fraction (0 to 1) of the way from one prompt to another.

    Both are of one class; see `conditioning.text.interpolate`.
    """

    first: Prompt
    second: Prompt
    fraction: float


# A class or, for a model with text, a prompt or a point between two. An int is always the number of
# a class. A string is a prompt or, for a model without text, the name of a class; digits that are
# no class's name are a number too.
Condition = str | int | Prompt | Between
# One for all samples, or one for each.
Conditions = Condition | Sequence[Condition]


def per_sample(conditions: Conditions | None, count: int) -> list[Condition] | None:
    """One condition for each of `count` samples; None stays None. A single one counts for all.

    ValueError for a list of another length; TypeError as `listed`.
    """
    if conditions is None:
        return None
    found = listed(conditions)
    if _is_condition(conditions):
        return found * count
    if len(found) != count:
        raise ValueError(
            f"give one condition for all samples or one for each, not a list of {len(found)} for"
            f" {count}"
        )
    return found


def listed(conditions: Conditions) -> list[Condition]:
    """The conditions as a list, also a single one; TypeError for anything that is none."""
    several = isinstance(conditions, Sequence) and not isinstance(conditions, str)
    found: list[Any] = list(conditions) if several else [conditions]  # type: ignore[arg-type]
    for one in found:
        if not _is_condition(one):
            raise TypeError(
                f"a condition is {one!r} ({type(one).__name__}); give words, a class by its name or"
                " number, a Prompt, or a list of these"
            )
    return found


def _is_condition(value: object) -> bool:
    return isinstance(value, str | Prompt | Between | numbers.Integral)
