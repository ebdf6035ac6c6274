"""The files of a Model folder: JSON objects and safetensors, read with errors in words."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError in words if it is missing or broken."""
    if not path.is_file():
        raise ValueError(f"there is no {path.name} in {path.parent}: it is not a model folder")
    try:
        data = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must hold a JSON object")
    return data


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON; ValueError where a key stands twice, of which readers take either."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice[:40]!r} stands there twice")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; ValueError in words if it is missing, cut or damaged."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    if not path.is_file():
        raise ValueError(f"{path} is missing")
    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is truncated or not a safetensors file ({error})") from None


def save_weights(network: nn.Module, path: Path) -> None:
    """The tensors of a network as a safetensors file; one with several names has its first."""
    from safetensors.torch import save_file

    weights, seen = dict[str, Tensor](), set[int]()
    for name, value in network.state_dict(keep_vars=True).items():
        if id(value) not in seen:
            weights[name] = value.detach().cpu().contiguous()
        seen.add(id(value))
    save_file(weights, path)


def load_weights(network: nn.Module, path: Path) -> None:
    """Fills a network from a safetensors file; every name and shape must find its place."""
    weights, wanted = read_weights(path), network.state_dict()
    check_fit(
        str(path),
        missing={n: value.shape for n, value in wanted.items() if n not in weights},
        extra={n: value.shape for n, value in weights.items() if n not in wanted},
        misshapen={
            n: weights[n].shape
            for n, value in wanted.items()
            if n in weights and weights[n].shape != value.shape
        },
    )
    network.load_state_dict(weights)


Shapes = Mapping[str, Sequence[int]]
MOST = 10


def check_fit(where: str, missing: Shapes, extra: Shapes, misshapen: Shapes) -> None:
    """ValueError in one line unless every weight found its place.

    missing: with the shapes they should have; extra, misshapen: with those they have
    """
    for problem, names in (
        ("lacks", missing),
        ("does not use", extra),
        ("has other shapes for", misshapen),
    ):
        if names:
            raise ValueError(f"{where} {problem} {len(names)} weights: {listed(names)}")


def listed(names: Shapes) -> str:
    """The first ten names with their shapes, and how many more there are."""
    shown = ", ".join(f"{name} {list(shape)}" for name, shape in sorted(names.items())[:MOST])
    return shown + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
