"""Models bundled with inkdrop, each a Model folder with a model card; commands take their names."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """The names of all bundled models."""
    return sorted(file.parent.name for file in FOLDER.glob("*/model.json"))


def find(name: str | Path) -> Path | None:
    """The folder of a bundled model; None if there is none, or if a local path has that name."""
    folder = FOLDER / name
    inside = Path(name).name == str(name) and (folder / "model.json").is_file()
    return folder if inside and not Path(name).exists() else None
