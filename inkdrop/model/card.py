"""A model on a card: what it makes and how, in ten lines, without reading its weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from inkdrop.config import dump
from inkdrop.diffusion.discrete import Discrete
from inkdrop.printable import printable
from inkdrop.registry import PARAMETERIZATIONS, describe

if TYPE_CHECKING:
    from inkdrop.model.model import Model

SHOWN = 8  # names of classes on a card
LONG = 100  # characters of a line's value


def facts(model: Model) -> list[tuple[str, str]]:
    """The lines of a card, as names and values."""
    spec, weights = model.spec, list(model.network.parameters())
    number = sum(weight.numel() for weight in weights)
    kinds = {str(weight.dtype).removeprefix("torch.") for weight in weights}
    on = f"{', '.join(sorted(kinds))} on {model.device}" if weights else "without weights"
    lines = [
        ("makes", f"{model.medium.many}, {model.medium.describe(spec.shape)}"),
        ("network", f"{type(model.network).__name__}, {number:,} weights, {on}"),
        ("predicts", str(describe(PARAMETERIZATIONS, model.parameterization)["kind"])),
        ("schedule", schedule(model)),
        ("samples", f"{spec.steps} steps, guidance {spec.guidance:g}"),
    ]
    if model.codec.module is not None:
        lines.append(("code", f"{'x'.join(map(str, model.shape))}, by an autoencoder"))
    if model.text is not None:
        lines.append(("reads", "prompts"))
    if spec.labels:
        lines.append(("classes", f"{len(spec.labels)}: {_some(spec.labels)}"))
    if "concat" in spec.notes:
        lines.append(("needs", spec.notes["concat"]))
    return [(name, _cut(printable(value))) for name, value in lines]


def schedule(model: Model) -> str:
    """The process of a model in a few words."""
    process = model.process
    if not isinstance(process, Discrete):
        return f"{type(process).__name__} {json.dumps(dump(process))}"
    end = ", ends in pure noise" if process.zero_terminal_snr else ""
    return f"{process.schedule}, {process.steps} steps{end}"


def text(model: Model) -> str:
    """The card as text."""
    return "\n".join(["Model", *(f"  {name:8}  {value}" for name, value in facts(model))])


def html(model: Model) -> str:
    """The card as a table, for notebooks."""
    rows = "".join(
        f"<tr><th style='text-align: left'>{escape(name)}</th>"
        f"<td style='text-align: left'>{escape(value)}</td></tr>"
        for name, value in facts(model)
    )
    return f"<table><caption>Model</caption>{rows}</table>"


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _cut(value: str) -> str:
    return value if len(value) <= LONG else f"{value[:LONG]} ..."
