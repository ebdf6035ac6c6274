"""Trusted pickles, which only `inkdrop convert --i-trust-this-pickle` opens."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkdrop.convert.files.safe import SafeFile
from inkdrop.convert.files.stored import held


def open_trusted_pickle(path: Path) -> SafeFile:
    """The tensors of a torch checkpoint, by the loader that makes only tensors and plain values.

    Numbers and texts beside the tensors become metadata. ValueError if there is anything else.
    """
    try:
        data = _restricted(path)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever the loader raises for damaged bytes
        raise ValueError(
            f"{path} cannot be opened by the restricted loader, which makes tensors and nothing"
            f" else ({_reason(error)}); get the model as safetensors"
        ) from None
    if not isinstance(data, Mapping):
        raise ValueError(f"{path} holds a {type(data).__name__}, not weights by name")
    metadata = {str(k): str(v) for k, v in data.items() if isinstance(v, str | int | float)}
    weights = _apart(_weights(data))
    if not weights:
        raise ValueError(f"{path} holds no weights; found: {', '.join(map(str, data))[:200]}")
    return SafeFile({name: held(value) for name, value in weights.items()}, metadata)


def _reason(error: Exception) -> str:
    """Why it was refused, in short: torch's own message advises to lift the restriction."""
    if found := re.search(r"GLOBAL ([\w.]+)", str(error)):
        return f"it asks for {found[1]}"
    return "it is damaged, or holds something else"


def _restricted(path: Path) -> Any:
    """What the restricted loader makes of a pickle, mapped if it is a zip (since torch 1.6)."""
    with path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about protocols it may not know; those that fail raise
        zipped = file.read(2) == b"PK"
        file.seek(0)
        # torch would open a name that ends in .safetensors as such.
        if zipped and path.suffix != ".safetensors":
            return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        return torch.load(file, map_location="cpu", weights_only=True)


def _weights(data: Mapping[Any, Any]) -> dict[str, Tensor]:
    """The tensors: a trainer's under `state_dict`, or a word's under `string_to_param`."""
    word = data.get("string_to_param")
    if isinstance(word, Mapping):
        return {f"string_to_param.{n}": v for n, v in word.items() if isinstance(v, Tensor)}
    inner = data.get("state_dict", data)
    found = inner if isinstance(inner, Mapping) else data
    return {str(name): value for name, value in found.items() if isinstance(value, Tensor)}


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with memory of their own each, as safetensors requires."""
    seen = set[int]()
    apart = {}
    for name, value in tensors.items():
        place = value.untyped_storage().data_ptr()
        apart[name] = value.clone() if place in seen else value
        seen.add(place)
    return apart
