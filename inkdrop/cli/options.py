"""Options of the command line from the fields of frozen dataclasses, so each is written once.

A field declared with `config.option` has its help and default there. An option that is not given
is None, and `given` drops it, so the dataclass applies its own default.
"""

from __future__ import annotations

import dataclasses
import sys
import types
import typing
from collections.abc import Callable, Collection, Mapping
from typing import Any

import click

from inkdrop.cli.complete import COMPLETE

Decorator = Callable[[Any], Any]


def options_of(
    cls: type[Any],
    *,
    without: Collection[str] = (),
    only: Collection[str] | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Decorator:
    """A decorator that adds an option for every field of `cls` declared as one.

    without, only: names of fields; defaults: the command's own defaults for --help (the command
    itself applies them).
    """
    chosen = [
        _option(each, _hint(cls, each), (defaults or {}).get(each.name, each.default))
        for each in dataclasses.fields(cls)
        if "help" in each.metadata
        and each.name not in without
        and (only is None or each.name in only)
    ]
    return all_of(*chosen)


def all_of(*options: Decorator) -> Decorator:
    """A decorator that adds all of these options; --help lists them in this order."""

    def add(command: Any) -> Any:
        for each in reversed(options):
            command = each(command)
        return command

    return add


def given(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were set on the command line."""
    return {name: value for name, value in options.items() if value not in (None, ())}


def _hint(cls: type[Any], field: dataclasses.Field[Any]) -> Any:
    """The type of one field alone: others may use names imported only for type checkers."""
    return eval(str(field.type), vars(sys.modules[cls.__module__]))


def _option(field: dataclasses.Field[Any], hint: Any, default: Any) -> Decorator:
    about = field.metadata
    main = about["flag"] or f"--{field.name.replace('_', '-')}"
    kind, several = _kind(hint)
    names = [main, *about["names"]]
    words = about["help"].removesuffix(".") + (" (may repeat)." if several else ".")
    shown = _shown(default, about["unset"])
    text = f"{words.removesuffix('.')} [{shown}]." if shown else words
    if kind.get("is_flag"):
        names = [f"{main}/--no-{main.removeprefix('--')}", *about["names"]]
    return click.option(
        *names,
        field.name,
        help=text,
        metavar=about["metavar"] or None,
        default=None,
        shell_complete=COMPLETE.get(field.name),
        **kind,
    )


def _shown(default: Any, unset: str) -> str:
    """The default for --help."""
    if default is None or default == () or default is dataclasses.MISSING:
        return unset
    if isinstance(default, bool):
        return "on" if default else ""
    if isinstance(default, tuple):
        return " ".join(map(str, default))
    return f"{default:g}" if isinstance(default, float) else str(default)


def _kind(hint: Any) -> tuple[dict[str, Any], bool]:
    """click's arguments for a value of this type, and whether the option may repeat.

    Anything but numbers and tuples of numbers is text, which `config.parse` checks.
    """
    hint = _required(hint)
    if hint is bool:
        return {"is_flag": True}, False
    if hint in (int, float):
        return {"type": hint}, False
    if typing.get_origin(hint) is tuple:
        parts = typing.get_args(hint)
        if parts[-1] is Ellipsis:
            inner, _ = _kind(parts[0])
            return {**inner, "multiple": True}, True
        plain = [part if part in (int, float) else str for part in map(_required, parts)]
        return {"type": tuple(plain), "nargs": len(plain)}, False
    return {"type": str}, False


def _required(hint: Any) -> Any:
    """The type without None."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    return parts[0] if len(parts) == 1 else str


device_option = click.option("--device", help="cpu, cuda or another [a GPU if there is one].")


def out_option(default: str, what: str = "The output file") -> Decorator:
    """-o, --out for a command that writes one file."""
    return click.option("-o", "--out", default=default, help=what, show_default=True)
