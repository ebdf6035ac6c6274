"""What one sample is asked to be: a class, a prompt, or a point between two prompts."""

from __future__ import annotations

from dataclasses import dataclass


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
