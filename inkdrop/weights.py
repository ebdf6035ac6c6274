"""Read and write the files of a Model folder, JSON and safetensors, with clear errors."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from inkdrop.mapped import DTYPES, Mapped

N = TypeVar("N", bound=nn.Module)
# Limits of a JSON file: bytes, and levels of objects and lists. Real files stay far below.
MOST_JSON, DEEPEST = 50_000_000, 100


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError if it is missing, broken, or absurdly large or deep."""
    if not path.is_file():
        raise ValueError(
            f"there is no {path.name} in {path.parent}: the folder is incomplete; get it again, or"
            " give another"
        )
    if path.stat().st_size > MOST_JSON:
        raise ValueError(
            f"{path} has {path.stat().st_size:,} bytes, more than settings ever take; get it again"
        )
    try:
        data = parsed_json(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error}); get it again") from None
    if not isinstance(data, dict):
        raise ValueError(f"{path} must be a JSON object, not {type(data).__name__}")
    return data


def parsed_json(text: str | bytes) -> Any:
    """JSON as plain values; ValueError for a duplicate key, or more than DEEPEST levels."""
    try:
        found = json.loads(text, object_pairs_hook=_once)
    except RecursionError:
        raise ValueError(f"it is nested over {DEEPEST} levels deep") from None
    _check_depth(found)
    return found


def _check_depth(value: Any) -> None:
    """ValueError beyond DEEPEST levels, at which code that recurses could fail."""
    level = [value]
    for _ in range(DEEPEST + 1):
        inner = [each for each in level if isinstance(each, dict | list)]
        if not inner:
            return
        level = [v for each in inner for v in (each.values() if isinstance(each, dict) else each)]
    raise ValueError(f"it is nested over {DEEPEST} levels deep")


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object as a dict; ValueError for a duplicate key, which is ambiguous."""
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"the key {counts.most_common(1)[0][0][:40]!r} appears twice")
    return found


def read_weights(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, memory-mapped; ValueError if it is missing or damaged."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise ValueError(f"{path} is missing; get the model again")
    try:
        with safe_open(path, "pt"):  # validates the whole header
            pass
    except SafetensorError as error:
        raise ValueError(
            f"{path} is truncated or not a safetensors file ({error}); get it again"
        ) from None
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(start - 8))
    header.pop("__metadata__", None)
    for name, about in header.items():
        if about["dtype"] not in DTYPES:
            raise ValueError(
                f"{path} holds {name!r} as {about['dtype']!r}; supported are {', '.join(DTYPES)}"
            )
    mapped = Mapped(path)
    return {
        name: mapped.tensor(
            DTYPES[about["dtype"]], tuple(about["shape"]), start + about["data_offsets"][0]
        )
        for name, about in header.items()
    }


def save_weights(network: nn.Module, path: Path) -> None:
    """Write a network's state dict as safetensors; a tensor with several names gets its first."""
    from safetensors.torch import save_file

    again = tied(network)
    weights = {
        name: value.detach().cpu().contiguous()
        for name, value in network.state_dict().items()
        if name not in again
    }
    # Write beside it first: the existing file may be memory-mapped, even by this network.
    beside = path.with_name(f"{path.name}.new")
    save_file(weights, beside)
    os.replace(beside, path)


class _Undrawn(TorchFunctionMode):
    """Skips normal initialisation: on the device "meta", torch would import its compiler for it."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is nn.init.normal_:
            return args[0] if args else kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def on_meta() -> Iterator[None]:
    """Context in which networks are built without memory or values, for `map_weights` to fill."""
    with torch.device("meta"), _Undrawn():
        yield


def load_weights(network: nn.Module, path: Path) -> None:
    """Copy a safetensors file into a network; ValueError unless all names and shapes match."""
    network.load_state_dict(_fitting(network, path))


def map_weights(network: N, path: Path, dtype: torch.dtype | None) -> N:
    """The network with the weights of a safetensors file, frozen and in evaluation mode.

    Weights that need no conversion stay in the mapped file until they are used. Build the network
    `on_meta` to save the memory of its initial weights. dtype: see `put_weights`. ValueError unless
    all names and shapes match.
    """
    return put_weights(network, _fitting(network, path), dtype)


def put_weights(network: N, weights: dict[str, Tensor], dtype: torch.dtype | None) -> N:
    """The network with these weights, frozen and in evaluation mode; consumes `weights`.

    weights: all of the network's, with their shapes
    dtype: of all weights (None: their own, the widest if there are several)
    ValueError for a number beyond the range of float16, if that is the dtype.
    """
    kind, shared = dtype or widest({value.dtype for value in weights.values()}), tied(network)
    for name in shared:
        weights.pop(name, None)
    while weights:  # one at a time, so that there are never two copies of all weights
        name, value = weights.popitem()
        place, _, last = name.rpartition(".")
        _put(network.get_submodule(place), last, _of_type(name, value, kind))
    for name, first in shared.items():
        place, _, last = name.rpartition(".")
        setattr(network.get_submodule(place), last, _at(network, first))
    return network.eval().requires_grad_(False)


def tied(network: nn.Module) -> dict[str, str]:
    """The further names of weights that have several -> the first, under which they are saved."""
    firsts = dict[int, str]()
    return {
        name: firsts[id(value)]
        for name, value in network.state_dict(keep_vars=True).items()
        if firsts.setdefault(id(value), name) != name
    }


def _at(network: nn.Module, name: str) -> Tensor:
    place, _, last = name.rpartition(".")
    found: Tensor = getattr(network.get_submodule(place), last)
    return found


def _of_type(name: str, value: Tensor, kind: torch.dtype) -> Tensor:
    last = torch.finfo(kind).max
    if kind == torch.float16 and torch.finfo(value.dtype).max > last and value.numel():
        most = largest(value)
        if last < most < math.inf:
            raise ValueError(
                f"{name} holds {most:.3g}, but half precision ends at {last:.0f}; leave it as it is"
            )
    return value.to(kind)


# What a type that is only for storing becomes where its numbers are computed with: fp8 is contained
# in float16, and nothing here needs the digits of float64.
COMPUTED = {
    torch.float8_e4m3fn: torch.float16,
    torch.float8_e5m2: torch.float16,
    torch.float64: torch.float32,
}


def make_computable(network: nn.Module) -> None:
    """Convert weights of types that networks do not compute in, fp8 and float64, in place."""
    for module in network.modules():
        for values in (module._parameters, module._buffers):
            for name, value in values.items():
                if value is not None and (kind := COMPUTED.get(value.dtype)) is not None:
                    _put(module, name, value.detach().to(kind))


def largest(value: Tensor) -> float:
    """The largest absolute value, found without a copy."""
    low, high = torch.aminmax(value)
    return max(-float(low), float(high))


def _put(module: nn.Module, name: str, value: Tensor) -> None:
    """Assign a weight to a module without copying it."""
    if name in module._parameters:
        value = nn.Parameter(value, requires_grad=False)
    setattr(module, name, value)


def _fitting(network: nn.Module, path: Path) -> dict[str, Tensor]:
    """The weights of a file; ValueError unless their names and shapes are those of the network."""
    weights, wanted = read_weights(path), network.state_dict()
    for name, first in tied(network).items():
        if first in weights:
            weights.setdefault(name, weights[first])
    whole = [name for name, value in weights.items() if not value.dtype.is_floating_point]
    if whole:
        raise ValueError(
            f"{path} holds integers for {whole[0]} ({weights[whole[0]].dtype}): it is a quantized"
            " model, which is not supported; get the plain one"
        )
    check_same(str(path), {name: value.shape for name, value in wanted.items()}, weights)
    return weights


def widest(types: set[torch.dtype]) -> torch.dtype:
    """The dtype that can hold all of these: the largest, or float32 for several of one size."""
    size = max(kind.itemsize for kind in types)
    largest = [kind for kind in types if kind.itemsize == size]
    # float16 and bfloat16 do not contain each other; float32 contains both.
    return largest[0] if len(largest) == 1 else torch.float32


Shapes = Mapping[str, Sequence[int]]
MOST, LONGEST = 10, 100  # names that an error message lists, and characters of each


def check_same(where: str, wanted: Shapes, weights: Mapping[str, Tensor]) -> None:
    """ValueError unless the weights have exactly the names and shapes of `wanted`."""
    check_fit(
        where,
        missing={n: shape for n, shape in wanted.items() if n not in weights},
        extra={n: value.shape for n, value in weights.items() if n not in wanted},
        misshapen={
            n: weights[n].shape
            for n, shape in wanted.items()
            if n in weights and weights[n].shape != shape
        },
    )


def check_fit(where: str, missing: Shapes, extra: Shapes, misshapen: Shapes) -> None:
    """ValueError if any weight is missing, extra or of the wrong shape.

    missing: names with the expected shapes; extra, misshapen: names with the shapes in the file
    """
    for problem, names in (
        ("lacks", missing),
        ("does not use", extra),
        ("has other shapes for", misshapen),
    ):
        if names:
            raise ValueError(
                f"{where} {problem} {len(names)} weights: {listed(names)}; it is incomplete, or"
                " does not match its settings: get the model again"
            )


def listed(names: Shapes) -> str:
    """The first ten names with their shapes, and the number of further ones."""
    first = sorted(names.items())[:MOST]
    shown = ", ".join(f"{name[:LONGEST]} {list(shape)}" for name, shape in first)
    return shown + (f" and {len(names) - MOST} more" if len(names) > MOST else "")
