"""What a command says when memory runs out: how much was missing, and which options lower it."""

from __future__ import annotations

import errno
import re
import sys

import click

from inkdrop.cli.table import TABLE, commands
from inkdrop.printable import size

# Words of torch on CPUs and GPUs, of NumPy, of C++ and of the system.
_SAID = re.compile(
    r"can't allocate memory|not enough memory|out of memory|cannot allocate memory|bad_alloc"
    r"|unable to allocate",
    re.IGNORECASE,
)
_BYTES = re.compile(r"tried to allocate (\d+) bytes", re.IGNORECASE)
_AMOUNT = re.compile(r"(?:tried|unable) to allocate ([\d.]+ [KMGTPE]i?B)", re.IGNORECASE)
LOWER = ("batch", "count", "size", "width", "height")


def out_of_memory(error: BaseException) -> str | None:
    """A sentence if an error means that memory ran out; None for any other."""
    if isinstance(error, OSError) and error.errno == errno.ENOMEM:
        return _sentence("")
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _SAID.search(str(error))
    ):
        return _sentence(str(error))
    return None


def _sentence(said: str) -> str:
    count, amount = _BYTES.search(said), _AMOUNT.search(said)
    missing = size(int(count[1])) if count else amount[1] if amount else ""
    missing = missing.replace(". ", " ")  # as in "335. GiB"
    return f"out of memory{f' (another {missing} were needed)' if missing else ''}; {_way()}"


def _way() -> str:
    """The options of the command that decide how much memory it takes."""
    name = next((word for word in sys.argv[1:] if word in TABLE), None)
    command = name and commands.get_command(click.Context(commands), name)
    known = [str(param.name) for param in command.params] if command else []
    lower = [f"--{name.replace('_', '-')}" for name in LOWER if name in known]
    ways = [f"lower {_either(lower)}"] if lower else []
    ways += ["raise --accumulate"] if "accumulate" in known else []
    ways += ["use --half"] if "half" in known else []
    return ", or ".join(ways or ["close other programs, or use a machine with more"])


def _either(names: list[str]) -> str:
    """ "a", "a or b", "a, b or c"."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if names[1:] else names)
