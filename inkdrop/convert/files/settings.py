"""Foreign settings: JSON in which a class is a name from a list, and every key is checked."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from inkdrop.config import nearest, parse, short
from inkdrop.weights import read_json

T = TypeVar("T")


def read_settings(file: Path) -> dict[str, Any]:
    """A JSON object from a file; ValueError if it asks for code from the model's folder."""
    data = read_json(file)
    if "auto_map" in data:
        raise ValueError(
            f"{file} has an auto_map, which asks for code from the model's folder; no such model is"
            " read here"
        )
    return data


def write_settings(file: Path, data: Mapping[str, Any]) -> None:
    """Write a JSON object to a file, in a folder that the caller commits."""
    text = json.dumps(data, indent=2, ensure_ascii=False) + "\n"
    file.write_text(text, encoding="utf-8")


def class_of(data: Mapping[str, Any], known: Collection[str], where: str) -> str:
    """The class that settings name, one of `known`; only its name is ever used."""
    name = data.get("_class_name")
    if not isinstance(name, str) or name not in known:
        raise ValueError(
            f"{where} is of class {short(name)}, which is not read here; known are:"
            f" {', '.join(sorted(known))}.{nearest(str(name), known)}"
        )
    return name


def parsed(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """The settings as a dataclass that lists every key that may have an effect.

    Ignored are keys that begin with _, and unknown ones that are null, which ask for nothing.
    """
    known = {field.name for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    told = {k: v for k, v in data.items() if not k.startswith("_")}
    value = parse(cls, {k: v for k, v in told.items() if v is not None or k in known}, where)
    for name, given in told.items():
        # Text such as "false", which Python takes for true where it is read as it stands.
        if isinstance(given, str) and not isinstance(getattr(value, name), str):
            raise ValueError(
                f"{where} has {name} as the text {short(given)}; write it without quotes"
            )
    return value


@contextmanager
def named_errors(where: str) -> Iterator[None]:
    """Errors about settings inside are raised with the file or folder that holds them."""
    try:
        yield
    except ValueError as error:
        raise ValueError(str(error) if where in str(error) else f"{where}: {error}") from None


LEVELS = 64  # more than any network has


def check_sane(settings: object, names: Sequence[str], most: int, where: str) -> None:
    """ValueError for a number that no model has and that would exhaust memory or time."""
    for name in names:
        value = getattr(settings, name)
        numbers = value if isinstance(value, tuple) else () if value is None else (value,)
        if len(numbers) > LEVELS:
            raise ValueError(f"{where} has {len(numbers)} {name}: more than {LEVELS} levels")
        if any(not 0 <= number <= most for number in numbers):
            raise ValueError(f"{where} has {name} {short(value)}: 0 to {most} is sane")
