"""Frozen dataclasses from JSON and back, with actionable error messages."""

from __future__ import annotations

import dataclasses
import difflib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from pydantic import TypeAdapter

T = TypeVar("T")
LONG = 80  # characters of a value in a message


def option(
    default: Any,
    help: str,
    *,
    unset: str = "",
    names: tuple[str, ...] = (),
    metavar: str = "",
    flag: str = "",
) -> Any:
    """A field of a frozen dataclass that is also a command-line option.

    This is the single source of its default and help text; `cli/options.py` builds the option.

    help: one sentence, without the default
    unset: the meaning of None, such as "the model's own"
    names: further option names, such as those of other programs
    metavar: name of the value in --help
    flag: name of the option, such as --label, if it differs from the field's name. A bool is a
        pair of switches, --fast and --no-fast.
    """
    about = {"help": help, "unset": unset, "names": names, "metavar": metavar, "flag": flag}
    return dataclasses.field(default=default, metadata=about)


def nearest(name: str, known: Iterable[str]) -> str:
    """The sentence " Did you mean 'x'?" for a misspelt name, or "" if none is similar."""
    match = difflib.get_close_matches(name[:LONG], list(known), n=1, cutoff=0.5)
    return f" Did you mean {match[0]!r}?" if match else ""


def choose(kind: str, name: str, table: Mapping[str, T]) -> T:
    """The entry called `name`; otherwise a ValueError with all names and the nearest."""
    if name not in table:
        known = ", ".join(sorted(table))
        hint = nearest(str(name), table)
        raise ValueError(f"there is no {kind} {short(name)}; choose from {known}.{hint}")
    return table[name]


def parse(cls: type[T], data: Mapping[str, Any], where: str) -> T:
    """A frozen dataclass from a plain dict; ValueError for unknown keys and wrong types.

    where: the source of the data, such as a file, for the message
    """
    from pydantic import ValidationError

    if not dataclasses.is_dataclass(cls):
        raise TypeError(f"{cls.__name__} is not a dataclass")
    if not isinstance(data, Mapping):
        raise ValueError(f"{where} must be key-value pairs, not {type(data).__name__}")
    known = [field.name for field in dataclasses.fields(cls)]
    for key in data:
        if key not in known:
            raise ValueError(
                f"{where} has an unknown key {short(key)}.{nearest(key, known)}"
                f" Known keys: {', '.join(known)}"
            )
    try:
        value: T = _adapter(cls).validate_python(dict(data))
        return value
    except ValidationError as error:
        errors = error.errors()
        # For a union of dataclasses, report the errors of the one that fits best.
        faults = Counter(e["loc"][:-1] for e in errors)
        first = min(errors, key=lambda e: faults[e["loc"][:-1]])
        key = ".".join(_path(first["loc"], data, missing=first["type"] == "missing"))
        reason = first["msg"].removeprefix("Value error, ")
        name = f"{key!r} is {short(first['input'])}: " if key else ""
        place = f"{where}: " if where else ""
        raise ValueError(f"{place}{name}{reason}") from None


def _path(loc: Sequence[str | int], data: Any, *, missing: bool) -> list[str]:
    """The keys and numbers of a value in plain data; loc also names the types that were tried."""
    found, value = list[str](), data
    for place, part in enumerate(loc):
        if _holds(value, part):
            value = value[part]
        elif not (missing and place == len(loc) - 1):
            continue
        found.append(str(part))
    return found


def _holds(value: Any, part: str | int) -> bool:
    if isinstance(value, Mapping):
        return part in value
    return isinstance(value, Sequence) and isinstance(part, int) and part < len(value)


def short(value: object) -> str:
    """A value as Python writes it, cut where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, or a deep list
        text = f"a {type(value).__name__}"
    return text if len(text) <= LONG else f"{text[:LONG]} ..."


@cache  # building one takes longer than many values take to read
def _adapter(cls: type[T]) -> TypeAdapter[T]:
    from pydantic import ConfigDict, TypeAdapter

    cls.__pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[attr-defined]
    return TypeAdapter(cls)


def dump(value: Any) -> dict[str, Any]:
    """The plain dict of a frozen dataclass, ready for JSON; `parse` is its inverse."""
    return dataclasses.asdict(value)
