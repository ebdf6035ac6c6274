"""Frozen dataclasses from JSON and back, with errors that a person can act on."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def option(
    default: Any,
    help: str,
    *,
    unset: str = "",
    names: tuple[str, ...] = (),
    metavar: str = "",
    flag: str = "",
) -> Any:
    """A field of a frozen dataclass that is also an option of the command line (and of the API).

    It is the one place where its default and its help are written; `cli/options.py` makes options
    of such fields. help: one sentence without the default; unset: what None stands for, such as
    "the model's own"; names: further option names, such as those of other programs; metavar: what
    --help calls its value; flag: the option's name, such as --label, if not the field's own. A bool
    is a pair of switches, --fast and --no-fast.
    """
    about = {"help": help, "unset": unset, "names": names, "metavar": metavar, "flag": flag}
    return dataclasses.field(default=default, metadata=about)


def nearest(name: str, known: Iterable[str]) -> str:
    """A trailing sentence " Did you mean 'x'?" for a misspelt name, or an empty string."""
    match = difflib.get_close_matches(name, list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry called `name`; ValueError lists the known ones and the nearest if there is none."""
    if name not in table:
        known = ", ".join(sorted(table))
        hint = nearest(str(name), table)
        raise ValueError(f"there is no {kind} {name!r}; known are: {known}.{hint}")
    return table[name]


def parse(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a plain dict; unknown keys and wrong types are a ValueError in words.

    `where` names the source of the data (a file, the command line) in the message.
    """
    from pydantic import ConfigDict, TypeAdapter, ValidationError

    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must hold key-value pairs, not {type(data).__name__}")
    known = [field.name for field in dataclasses.fields(cls)]
    for key in data:
        if key not in known:
            raise ValueError(
                f"{where} has an unknown key {key!r}.{nearest(key, known)}"
                f" Known keys: {', '.join(known)}"
            )
    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    try:
        return TypeAdapter(cls).validate_python(dict(data))
    except ValidationError as error:
        errors = error.errors()
        # Where one of several dataclasses was meant, it is the one that fits best.
        faults = Counter(e["loc"][:-1] for e in errors)
        first = min(errors, key=lambda e: faults[e["loc"][:-1]])
        key = ".".join(str(part) for part in first["loc"])
        reason = first["msg"].removeprefix("Value error, ")
        name = f"{key!r} is {first['input']!r}: " if key else ""
        place = f"{where}: " if where else ""
        raise ValueError(f"{place}{name}{reason}") from None


def dump(value: Any) -> dict[str, Any]:
    """The plain dict of a frozen dataclass, ready for JSON; `parse` is its inverse."""
    return dataclasses.asdict(value)
