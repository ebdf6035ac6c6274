"""model.json: describes what an inkdrop folder holds. It is written and read only here.

{"format_version": 1, "kind": "model", ...}      a diffusion model: see `model.folder`
{"format_version": 1, "kind": "autoencoder", ..} an autoencoder alone: see `codecs.latent`
{"format_version": 1, "kind": "judge", ...}      a judge: see `evaluate.judge`
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from inkdrop.config import nearest, short
from inkdrop.weights import read_json

NAME = "model.json"
FORMAT_VERSION = 1
# What each kind is, for messages. KEYS: the keys of its description; only "text" is optional.
KINDS = {
    "model": "a diffusion model",
    "autoencoder": "an autoencoder, which makes no samples by itself",
    "judge": "a judge, which measures samples and makes none",
}
PARTS = ("process", "parameterization", "network", "codec", "spec")
KEYS = {"model": (*PARTS, "text"), "autoencoder": ("autoencoder",), "judge": ("judge",)}


def described(kind: str, content: Mapping[str, Any]) -> dict[str, Any]:
    """The full content of a model.json of this kind."""
    return {"format_version": FORMAT_VERSION, "kind": kind, **content}


def write_description(folder: Path, description: Mapping[str, Any]) -> None:
    """Writes model.json into an existing folder, which the caller commits."""
    text = json.dumps(description, indent=2) + "\n"
    (folder / NAME).write_text(text, encoding="utf-8")


def read_description(folder: Path, kind: str) -> dict[str, Any]:
    """The content of a folder's model.json; ValueError unless it is of this kind."""
    where = str(folder / NAME)
    data = read_json(folder / NAME)
    check_description(data, kind, where)
    return data


def check_description(data: Mapping[str, Any], kind: str, where: str) -> None:
    """ValueError for another kind or format version, and for missing or unknown keys."""
    found = kind_of(data)
    if found not in KINDS:
        raise ValueError(
            f"{where} describes a {short(found)}, which this inkdrop does not know; known are"
            f" {', '.join(KINDS)}.{nearest(found, KINDS)}"
        )
    if found != kind:
        raise ValueError(f"{where} describes {KINDS[found]}; {KINDS[kind].split(',')[0]} is needed")
    if data.get("format_version") != FORMAT_VERSION:
        raise ValueError(
            f"{where} has format {short(data.get('format_version'))}; this inkdrop reads"
            f" {FORMAT_VERSION}"
        )
    known = ("format_version", "kind", *KEYS[kind])
    for name in data:
        if name not in known:
            raise ValueError(f"{where} has an unknown key {short(name)}.{nearest(name, known)}")
    for name in KEYS[kind]:
        if name not in data and name != "text":
            raise ValueError(f"{where} has no {name!r}; the description is incomplete")


def kind_of(data: Mapping[str, Any]) -> str:
    """The kind of a description; if the field is missing, it is inferred from the keys."""
    kind = data.get("kind")
    if kind is not None:
        return str(kind)
    return next((name for name in ("autoencoder", "judge") if name in data), "model")
