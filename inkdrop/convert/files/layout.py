"""What lies at a path, recognised by the names of files and of weights alone.

The kinds themselves are declared by the rooms that read them: `families.FAMILIES` and `adapters`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Layout = Literal["inkdrop", "folder", "part"]

INDEX, CONFIG = "model_index.json", "config.json"
# The file that shows what a folder holds; the first that exists decides.
FOLDERS: dict[str, Layout] = {"model.json": "inkdrop", INDEX: "folder", CONFIG: "part"}


@dataclass(frozen=True)
class Kind:
    """A kind of checkpoint and the names by which it is recognised.

    what: a description for messages, such as "a LoRA"
    weights: patterns; a file is of this kind if the start of a weight's name matches one of them
    files: a folder is of this kind if it contains one of them
    """

    what: str
    weights: tuple[str, ...] = ()
    files: tuple[str, ...] = ()

    def matches(self, names: Iterable[str]) -> bool:
        """True if a file with weights of these names is of this kind."""
        return any(re.match(pattern, name) for name in names for pattern in self.weights)

    def marks(self, folder: Path) -> bool:
        """True if a folder is of this kind."""
        return any((folder / name).is_file() for name in self.files)


def marked(folder: Path) -> Layout | None:
    """The layout of a model's folder; None if no file shows it."""
    return next((layout for name, layout in FOLDERS.items() if (folder / name).is_file()), None)


def is_own(path: Path) -> bool:
    """True for a Model folder of this library."""
    return path.is_dir() and marked(path) == "inkdrop"


def layout_of_folder(folder: Path) -> Layout:
    """The layout of a model's folder; ValueError if it is not one."""
    layout = marked(folder)
    if layout is not None:
        return layout
    weights = sorted(file.name for file in folder.glob("*.safetensors"))
    inside = f"; give one of its files: {', '.join(weights[:10])}" if weights else ""
    raise ValueError(
        f"{folder} is not a model: it has no model.json, model_index.json or config.json{inside}"
    )
