"""Models that come with inkdrop, each a Model folder with its card; commands take them by name."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def find(name: str | Path) -> Path | None:
    """The folder of a model in the box; None if there is none, or something here has that name."""
    folder = FOLDER / name
    inside = Path(name).name == str(name) and (folder / "model.json").is_file()
    return folder if inside and not Path(name).exists() else None
