"""Runs an inkdrop command and writes which of inkdrop's functions were called.

    python benchmarks/structure/traced.py OUT.json generate "a red heart"

OUT.json maps each file of inkdrop in which a function ran, relative to the package, to the names of
those functions. Bodies of modules and classes and comprehensions do not count as functions; what
dataclasses generate is in no file. Threads are followed, other processes are not.
"""

from __future__ import annotations

import inspect
import json
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

COMPREHENSIONS = ("<listcomp>", "<setcomp>", "<dictcomp>", "<genexpr>")


class Calls:
    """A profiler that collects the code of every Python function that is called."""

    def __init__(self) -> None:
        self.codes: set[CodeType] = set()

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            self.codes.add(frame.f_code)


def is_function(code: CodeType) -> bool:
    """False for the body of a module or class, and for a comprehension."""
    return bool(code.co_flags & inspect.CO_OPTIMIZED) and code.co_name not in COMPREHENSIONS


def functions(codes: set[CodeType], package: Path) -> Iterator[tuple[str, str]]:
    """File and qualified name of each function of the package among the codes."""
    for code in codes:
        path = Path(code.co_filename)
        if is_function(code) and path.is_relative_to(package):
            yield str(path.relative_to(package)), code.co_qualname


def main() -> None:
    """Traces the command from its first import to its end."""
    out, arguments = Path(sys.argv[1]), sys.argv[2:]
    calls = Calls()
    threading.setprofile(calls)
    sys.setprofile(calls)
    try:
        import inkdrop
        from inkdrop.cli import main as command

        sys.argv = ["inkdrop", *arguments]
        command()
    finally:
        sys.setprofile(None)
        found: dict[str, list[str]] = {}
        # a copy, for other threads may still be at work
        for file, name in sorted(functions(calls.codes.copy(), Path(inkdrop.__file__).parent)):
            found.setdefault(file, []).append(name)
        out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
