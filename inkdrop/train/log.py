"""metrics.jsonl: the log of a run, one line of JSON per update and one per validation."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdrop.files import append, replacing


@dataclass(frozen=True)
class Log:
    """The log at a path, which need not exist yet."""

    path: Path

    def write(self, **entry: Any) -> None:
        """Appends one line."""
        append(self.path, json.dumps(entry) + "\n")

    def rewind(self, update: int) -> None:
        """Removes what was logged after this update, and lines that a crash has damaged.

        Lines that are not ours, because they do not say which update they belong to, stay.
        """
        if not self.path.is_file():
            return
        kept = [line for line, at in self._lines() if at is None or at <= update]
        with replacing(self.path) as beside:
            beside.write_bytes(b"".join(line + b"\n" for line in kept))

    def validated(self, update: int) -> bool:
        """Whether a validation was logged after this update."""
        if not self.path.is_file():
            return False
        return any(at == update and b'"validation"' in line for line, at in self._lines())

    def _lines(self) -> Iterator[tuple[bytes, float | None]]:
        """The undamaged lines, each with its update, if it has one."""
        for line in self.path.read_bytes().splitlines():
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                continue
            at = entry.get("update") if isinstance(entry, dict) else None
            yield line, at if isinstance(at, int | float) else None
