"""A model as a folder of data: model.json, and a safetensors file for each part."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from inkdrop import box
from inkdrop.config import dump, parse
from inkdrop.files import check_writable, commit_folder, replacing
from inkdrop.folder import (
    NAME,
    check_description,
    described,
    read_description,
    write_description,
)
from inkdrop.model.model import Model
from inkdrop.model.spec import Spec
from inkdrop.registry import (
    PARAMETERIZATIONS,
    PROCESSES,
    build,
    build_codec,
    build_network,
    describe,
    describe_codec,
    describe_network,
    describe_text,
    read_text,
    write_text,
)
from inkdrop.runs import MANIFEST, manifest, own_folder, restore
from inkdrop.weights import map_weights, on_meta, save_weights


def describe_model(model: Model) -> dict[str, Any]:
    """The content of a model's model.json; `build_model` is its inverse."""
    content = {
        "process": describe(PROCESSES, model.process),
        "parameterization": describe(PARAMETERIZATIONS, model.parameterization),
        "network": describe_network(model.network),
        "codec": describe_codec(model.codec),
        "spec": dump(model.spec),
    }
    if model.text is not None:
        content["text"] = describe_text(model.text)
    return described("model", content)


def write_model(model: Model, folder: Path) -> None:
    """Writes all files of a model into an existing folder; the caller commits it."""
    write_description(folder, describe_model(model))
    save_weights(model.network, folder / "network.safetensors")
    if model.codec.module is not None:
        save_weights(model.codec.module, folder / "codec.safetensors")
    if model.text is not None:
        write_text(model.text, folder)


def load_model(folder: Path, *, dtype: torch.dtype | None = torch.float32) -> Model:
    """The model in a model folder, in evaluation mode; see `Model.load`."""
    data, where = read_description(folder, "model"), str(folder / NAME)
    model = build_model(data, where, meta=True)
    map_weights(model.network, folder / "network.safetensors", dtype)
    if model.codec.module is not None:
        map_weights(model.codec.module, folder / "codec.safetensors", dtype)
        model.codec.module.to(dtype)  # its constant buffers, which are not in the file
    if "text" not in data:
        return model
    text = read_text(data["text"], folder, where, dtype)
    return dataclasses.replace(model, text=text)


def build_model(data: Mapping[str, Any], where: str, *, meta: bool = False) -> Model:
    """A model with fresh weights from the content of a model.json, without its text encoder.

    The text encoder needs the folder's tokenizer, so `load_model` adds it. where: the source, for
    messages. meta: weights are on torch's meta device, without memory or values.
    """
    check_description(data, "model", where)
    with on_meta() if meta else nullcontext():
        network = build_network(data["network"], where)
        codec = build_codec(data["codec"], where)
    return Model(
        process=build("process", PROCESSES, data["process"], where),
        parameterization=build(
            "parameterization", PARAMETERIZATIONS, data["parameterization"], where
        ),
        network=network,
        codec=codec,
        spec=parse(Spec, data["spec"], f"{where}, spec"),
    )


def check_amendable(name: str | Path) -> None:
    """ValueError or OSError, before any work, for a model that `amend` could not change."""
    if box.find(name) is not None:
        raise ValueError(f"the built-in model {name} cannot be changed; copy its folder first")
    folder, _ = own_folder(name)
    check_writable(folder / NAME if folder == Path(name) else folder.parent)


def amend(name: str | Path, spec: Spec) -> Path:
    """Replaces the spec of a model folder, or of a run's newest checkpoint; returns the folder.

    Weights are not touched, and a failed write leaves the old files intact. ValueError for a
    built-in model.
    """
    restore(Path(name))
    check_amendable(name)
    folder, _ = own_folder(name)
    description = read_description(folder, "model") | {"spec": dump(spec)}
    if folder == Path(name):
        with replacing(folder / NAME) as beside:
            text = json.dumps(description, indent=2) + "\n"
            beside.write_text(text, encoding="utf-8")
        return folder
    with commit_folder(folder.parent) as beside:
        shutil.copytree(folder.parent, beside, dirs_exist_ok=True)
        write_description(beside / "model", description)
        (beside / MANIFEST).unlink()
        (beside / MANIFEST).write_text(json.dumps(manifest(beside), indent=2) + "\n")
    return folder
