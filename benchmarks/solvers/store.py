"""Results that grow part by part: one JSON file, rewritten after each part."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from inkdrop.files import replacing


@dataclass(frozen=True)
class Store:
    """A file of nested results; a part is addressed by its keys."""

    path: Path

    def load(self) -> dict[str, Any]:
        """All results so far."""
        return json.loads(self.path.read_text()) if self.path.exists() else {}

    def get(self, *keys: str) -> Any:
        """One part, or None if it is missing."""
        place: Any = self.load()
        for key in keys:
            if key not in place:
                return None
            place = place[key]
        return place

    def keep(self, *keys: str, value: Any) -> None:
        """Writes one part."""
        results = self.load()
        place = results
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = value
        with replacing(self.path) as part:
            part.write_text(_dumped(results) + "\n")


def _dumped(value: Any, indent: str = "") -> str:
    """JSON with one line for each innermost value."""
    if not isinstance(value, dict) or not value:
        return json.dumps(value)
    inner = indent + " "
    lines = [f"{inner}{json.dumps(key)}: {_dumped(child, inner)}" for key, child in value.items()]
    return "{\n" + ",\n".join(lines) + "\n" + indent + "}"
