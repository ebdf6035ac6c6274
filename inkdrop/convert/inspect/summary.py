"""A description of a model without reading its weights: family, parts, schedule, memory."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from inkdrop.conditioning.known import Known
from inkdrop.convert.adapters.open import adapter_lines
from inkdrop.convert.control import read_control
from inkdrop.convert.families import adapter_at, family_at, is_control
from inkdrop.convert.files.layout import is_own
from inkdrop.convert.files.options import PLAIN
from inkdrop.convert.files.parts import Part
from inkdrop.convert.inspect.alone import network_lines, own_lines, part_lines
from inkdrop.convert.inspect.estimate import Kept, memory
from inkdrop.convert.inspect.headers import headers_of, own_parts
from inkdrop.convert.open import located
from inkdrop.diffusion.samplers import best
from inkdrop.folder import NAME, read_description
from inkdrop.model import Model
from inkdrop.model.card import schedule
from inkdrop.model.folder import build_model
from inkdrop.printable import size
from inkdrop.registry import PARAMETERIZATIONS, describe


def summary(path: str | Path) -> list[str]:
    """The lines that describe what is at a path: a model, a control network or an adapter.

    ValueError if it is none of these, or if the model is incomplete.
    """
    path = located(path)
    if is_own(path):
        if (lines := own_lines(path)) is not None:
            return lines
        model = build_model(read_description(path, "model"), str(path / NAME), meta=True)
        known = Known.read(path)
        read = () if known is None else known.lines()
        return _lines("a model of inkdrop's own", model, own_parts(path), read)
    if is_control(path):
        return read_control(path).lines()
    if (kind := adapter_at(path)) is not None:
        return adapter_lines(path, kind)
    if (lines := part_lines(path)) is not None:
        return lines
    family = family_at(path)
    foreign = family.read(path, PLAIN)
    if what := family.alone(foreign):
        return network_lines(what, family.headers(foreign).parts)
    # With its text encoders, so that an incomplete model is an error here too.
    model, report = family.build(foreign, None, False)
    what = "a diffusers folder" if foreign.layout == "folder" else "a single file"
    return _lines(what, model, family.headers(foreign).parts, report.notes)


def _lines(what: str, model: Model, parts: tuple[Part, ...], notes: Sequence[str]) -> list[str]:
    spec = model.spec
    any_size = ", or any other size" if spec.any_size else ""
    numbers = sum(each.numbers for each in parts)
    return [
        f"layout: {what}",
        *([f"family: {spec.notes['family']}"] if "family" in spec.notes else []),
        *(each.line() for each in parts),
        Part("all", numbers, sum(each.bytes for each in parts), ()).line(),
        f"{model.medium.many}: {model.medium.describe(spec.shape)}{any_size}",
        *([f"classes (--label): {', '.join(spec.labels)}"] if spec.labels else []),
        f"predicts: {describe(PARAMETERIZATIONS, model.parameterization)['kind']}",
        f"schedule: {schedule(model)}",
        *_own(model),
        *([f"beside words: {spec.notes['concat']}"] if "concat" in spec.notes else []),
        *_memory(model, parts),
        *notes,
    ]


def _own(model: Model) -> list[str]:
    """The scheduler that came with the model, and how to follow it."""
    own = model.spec.own
    if own is None:
        return []
    if own.sampler is None:
        return [f"its scheduler: {own.scheduler}, which is not followed here: {own.missing}"]
    usual = model.spec.sampler or best(model.process)[0]
    return [
        f"its scheduler: {own.scheduler}, used by --sampler own; without it the sampler is {usual}"
    ]


# The ways to keep weights for which `info` prints the memory of a run.
KEPT: dict[Kept, str] = {
    "float32": "in float32",
    "half": "with --half",
    "bfloat16": "with --precision bfloat16",
    "int8": "with --precision int8",
}


def _memory(model: Model, parts: tuple[Part, ...]) -> list[str]:
    known = headers_of(model, parts)
    needed = {words: memory(known, known.sizes, kept=kept) for kept, words in KEPT.items()}
    lines = [f"{size(count)} {words}" for words, count in needed.items() if count is not None]
    return [f"memory: for a picture of its size about {', '.join(lines)}"] if lines else []
