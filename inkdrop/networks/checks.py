"""Checks that all networks share: of their configuration and of the inputs to a call."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, get_args, get_type_hints

import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.config import nearest


class Shape(Protocol):
    """The fields that the configurations of all networks share."""

    @property
    def dims(self) -> int: ...
    @property
    def in_channels(self) -> int: ...
    @property
    def concat_channels(self) -> int: ...


def check_words(config: Shape) -> None:
    """ValueError for a field whose value is not one of the words of its Literal."""
    for name, hint in get_type_hints(type(config)).items():
        known = [word for word in get_args(hint) if isinstance(word, str)]
        value = getattr(config, name)
        if known and value not in known:
            raise ValueError(
                f"{name} is {value!r} but must be one of {', '.join(known)}."
                f"{nearest(str(value), known)}"
            )


def check_numbers(config: Shape, at_least_one: Iterable[str]) -> None:
    """ValueError for impossible axes or channels, or for a field in `at_least_one` below 1.

    Such a field is a number, a tuple of numbers, or None.
    """
    if config.dims not in (1, 2, 3):
        raise ValueError(f"dims is {config.dims} but must be 1, 2 or 3")
    for name in at_least_one:
        value = getattr(config, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if any(n < 1 for n in numbers):
            raise ValueError(f"{name} is {value} but must be at least 1")
    if config.concat_channels < 0:
        raise ValueError(f"concat_channels is {config.concat_channels} but must not be negative")


def one_time_each(x: Tensor, t: Tensor) -> None:
    """ValueError unless t is [B] for x [B, ...]."""
    if t.shape != x.shape[:1]:
        raise ValueError(
            f"t has shape {list(t.shape)} but x holds {x.shape[0]} samples; give one time each"
        )


def joined(x: Tensor, cond: Cond, config: Shape) -> Tensor:
    """x [B, C, *spatial], with cond.concat appended along the channels if the network takes it."""
    if x.ndim != config.dims + 2 or x.shape[1] != config.in_channels:
        raise ValueError(
            f"x has shape {list(x.shape)} but the network takes {config.in_channels} channels"
            f" and {config.dims} spatial axes: [batch, {config.in_channels}, ...]"
        )
    if not config.concat_channels:
        return x
    beside = needed(cond.concat, "concat", config.concat_channels, 1)
    return torch.cat([x, beside.to(x.dtype)], dim=1)


def labels(cond: Cond, classes: int) -> Tensor:
    """cond.label [B] int64, each from 0 to `classes`, which is the null label."""
    label = cond.label
    if label is None:
        raise ValueError(
            f"the network needs cond.label, a class from 0 to {classes} ({classes} is the null"
            " label)"
        )
    # On the CPU only: reading a label back from an accelerator would stall it in every step. Not
    # while compiling either, where a branch on a value breaks the graph in two.
    seen = label.device.type == "cpu" and not torch.compiler.is_compiling()
    if seen and not bool(((label >= 0) & (label <= classes)).all()):
        bad = int(label[(label < 0) | (label > classes)][0])
        raise ValueError(f"label is {bad} but must be from 0 to {classes}, the null label")
    return label


def guidance(cond: Cond) -> Tensor:
    """cond.guidance [B]; ValueError without it."""
    if cond.guidance is None:
        raise ValueError("the network needs cond.guidance, a guidance scale for each sample")
    return cond.guidance


def tokens(cond: Cond, size: int) -> Tensor:
    """cond.tokens [B, L, size]; ValueError without it, or if cond.mask is not [B, L]."""
    found = needed(cond.tokens, "tokens", size)
    if cond.mask is not None and cond.mask.shape != found.shape[:2]:
        raise ValueError(
            f"cond.mask has shape {list(cond.mask.shape)} but must be {list(found.shape[:2])}, like"
            " cond.tokens"
        )
    return found


def needed(value: Tensor | None, name: str, size: int | None, axis: int = -1) -> Tensor:
    """The value of a condition's field `name`; ValueError if None or not of `size` along `axis`."""
    if value is None:
        told = f"the network needs cond.{name}, of size {size} along axis {axis}"
        words = "; it reads text, but the model has no text encoder: get the complete model"
        raise ValueError(told + words * (name == "tokens"))
    if value.shape[axis] != size:
        raise ValueError(
            f"cond.{name} has size {value.shape[axis]} along axis {axis} but the network takes"
            f" {size}"
        )
    return value
