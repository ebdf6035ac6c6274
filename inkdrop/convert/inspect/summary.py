"""What a model is, told without reading its weights: family, parts, schedule, memory of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from inkdrop.config import dump
from inkdrop.convert.adapters.open import adapter_lines
from inkdrop.convert.files.layout import layout_of_folder
from inkdrop.convert.inspect.estimate import Kept, memory
from inkdrop.convert.inspect.headers import Headers, Part, part, parts_of, parts_of_own
from inkdrop.convert.open import located
from inkdrop.convert.sd.control import Branch, is_control, read_control
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.text import to_text
from inkdrop.diffusion.process import Discrete
from inkdrop.folder import NAME, read_description
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.registry import PARAMETERIZATIONS, describe


def summary(path: str | Path) -> list[str]:
    """Lines that say what is at a path: one of ours, a diffusers folder, a single file, an adapter.

    ValueError if it is neither a whole model nor a LoRA, an embedding or a control network.
    """
    path = located(path)
    if is_control(path):
        return _about_control(read_control(path))
    if (lines := adapter_lines(path)) is not None:
        return lines
    if path.is_dir() and layout_of_folder(path) == "inkdrop":
        data = read_description(path, "model")
        model = build_model(data, str(path / NAME), meta=True)
        return _lines("a model of inkdrop's own", model, parts_of_own(path), [])
    foreign = read(path)
    model, report = to_model(foreign)
    if foreign.text:
        to_text(foreign)  # nothing is told of a text that cannot be read
    what = "a diffusers folder" if foreign.layout == "folder" else "a single file"
    return _lines(what, model, parts_of(foreign), [*report.notes])


def _about_control(branch: Branch) -> list[str]:
    family, config = branch.family, branch.config
    what = "a diffusers folder" if branch.layout == "folder" else "a single file"
    return [
        f"layout: {what} of a control network",
        f"family: {'unknown' if family is None else family.name}",
        _line(part("control", branch.weights)),
        f"hint: {config.hint_channels} channels, {config.hint_order}, {config.factor} times the"
        " size of the code",
        *(f"{name}: unused, {why}" for name, why in branch.unused.items()),
        *branch.notes,
    ]


def _lines(what: str, model: Model, parts: Sequence[Part], notes: list[str]) -> list[str]:
    spec = model.spec
    sizes = spec.shape[1:]
    numbers = sum(each.numbers for each in parts)
    return [
        f"layout: {what}",
        *([f"family: {spec.notes['family']}"] if "family" in spec.notes else []),
        *(_line(each) for each in parts),
        _line(Part("all", numbers, sum(each.bytes for each in parts), ())),
        f"pictures: {'x'.join(map(str, sizes))}{', or any other size' if spec.any_size else ''}",
        f"predicts: {describe(PARAMETERIZATIONS, model.parameterization)['kind']}",
        f"schedule: {_schedule(model)}",
        *([f"beside words: {spec.notes['concat']}"] if "concat" in spec.notes else []),
        *_memory(model, parts),
        *notes,
    ]


def _line(each: Part) -> str:
    types = f", {' and '.join(each.dtypes)}" if each.dtypes else ""
    return f"{each.name}: {each.numbers / 1e6:.1f} million numbers{types}, {_size(each.bytes)}"


def _schedule(model: Model) -> str:
    process = model.process
    if not isinstance(process, Discrete):
        told: Mapping[str, Any] = dump(process)
        return f"{type(process).__name__} {json.dumps(told)}"
    end = ", ends in pure noise" if process.zero_terminal_snr else ""
    return f"{process.schedule}, {process.steps} steps{end}"


# What `info` says the memory of: how weights may be kept.
KEPT: dict[Kept, str] = {
    "float32": "in float32",
    "half": "with --half",
    "bfloat16": "with --precision bfloat16",
    "int8": "with --precision int8",
}


def _memory(model: Model, parts: Sequence[Part]) -> list[str]:
    network = getattr(model.network, "config", None)
    coder = getattr(getattr(model.codec, "config", None), "autoencoder", None)
    sizes, any_size = model.spec.shape[1:], model.spec.any_size
    known = Headers(network, coder, sizes, any_size, tuple(parts))
    needed = {words: memory(known, sizes, kept=kept) for kept, words in KEPT.items()}
    told = [f"{_size(count)} {words}" for words, count in needed.items() if count is not None]
    return [f"memory: for a picture of its size about {', '.join(told)}"] if told else []


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
