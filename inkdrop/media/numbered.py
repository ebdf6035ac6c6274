"""Names with a place for a number, such as pic_%d.png: a file of its own for each sample.

The place is %d, %03d, {} or {:03d}, once in the file's name; the number is the sample's.
"""

from __future__ import annotations

import re
from pathlib import Path

_PLACE = re.compile(r"%(0?\d{0,2})d|\{(?::(0?\d{0,2})d?)?\}")


def is_numbered(path: Path) -> bool:
    """Whether a file's name has a place for a number; ValueError if it has several."""
    places = _PLACE.findall(path.name)
    if len(places) > 1:
        raise ValueError(
            f"{path} has {len(places)} places for a number; give one, such as pic_%d.png"
        )
    return len(places) == 1


def numbered(path: Path, number: int) -> Path:
    """The path with the number at its place; the path itself if it has none."""
    found = _PLACE.search(path.name)
    if found is None:
        return path
    width = found[1] or found[2] or ""
    name = f"{path.name[: found.start()]}{number:{width}d}{path.name[found.end() :]}"
    return path.with_name(name)
