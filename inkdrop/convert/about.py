"""What a model is, told without reading its weights: family, parts, schedule, memory of a run."""

from __future__ import annotations

import json
from collections.abc import Mapping
from math import prod
from pathlib import Path
from typing import Any, NamedTuple

from inkdrop.config import dump
from inkdrop.convert.adapters import adapter_lines
from inkdrop.convert.foreign import Foreign
from inkdrop.convert.layout import layout_of_folder
from inkdrop.convert.memory import memory
from inkdrop.convert.model import to_model
from inkdrop.convert.open import located
from inkdrop.convert.read import read
from inkdrop.convert.safe import open_safe
from inkdrop.convert.stored import Weights, types_of
from inkdrop.diffusion.process import Discrete
from inkdrop.model import Model
from inkdrop.registry import PARAMETERIZATIONS, describe
from inkdrop.weights import read_json


class Part(NamedTuple):
    """A network: how many numbers it holds, in how many bytes of a file, of what types."""

    name: str
    numbers: int
    bytes: int
    dtypes: tuple[str, ...]


def about(path: str | Path) -> list[str]:
    """Lines that say what is at a path: one of ours, a diffusers folder, a single file, an adapter.

    ValueError if it is neither a whole model nor a LoRA or an embedding.
    """
    path = located(path)
    if (lines := adapter_lines(path)) is not None:
        return lines
    if path.is_dir() and layout_of_folder(path) == "inkdrop":
        data = read_json(path / "model.json")
        model = Model.build(data, str(path / "model.json"), device="meta")
        files = sorted(path.rglob("*.safetensors"))
        parts = [part(_name(file, path), open_safe(file).weights) for file in files]
        return _lines("a model of inkdrop's own", model, parts, [])
    foreign = read(path)
    model, report = to_model(foreign)
    what = "a diffusers folder" if foreign.layout == "folder" else "a single file"
    return _lines(what, model, _parts(foreign), [*report.notes])


def part(name: str, weights: Weights) -> Part:
    """A part by the headers of its files."""
    values = weights.values()
    return Part(
        name,
        sum(prod(value.shape) for value in values),
        sum(prod(value.shape) * value.dtype.itemsize for value in values),
        types_of(values),
    )


def _name(file: Path, folder: Path) -> str:
    """Such as network, codec, text or text_2."""
    return file.stem if file.parent == folder else file.parent.name


def _parts(foreign: Foreign) -> list[Part]:
    assert foreign.denoiser is not None and foreign.coder is not None
    texts = [text for text in foreign.text.values() if text.weights]
    return [
        part("unet", foreign.denoiser.weights),
        part("autoencoder", foreign.coder.weights),
        *(part(text.name, text.weights) for text in texts),
    ]


def _lines(what: str, model: Model, parts: list[Part], notes: list[str]) -> list[str]:
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
        *_memory(model, numbers, sizes),
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


def _memory(model: Model, numbers: int, sizes: tuple[int, ...]) -> list[str]:
    network = getattr(model.network, "config", None)
    codec = getattr(model.codec, "config", None)
    needed = memory(network, getattr(codec, "autoencoder", None), numbers, sizes)
    if needed is None:
        return []
    return [f"memory: about {_size(needed)} for a picture of its size, in float32"]


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
