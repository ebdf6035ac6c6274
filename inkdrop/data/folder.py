"""Pictures in a folder and its sub-folders."""

from __future__ import annotations

import os
from pathlib import Path

from inkdrop.data.dataset import Dataset
from inkdrop.data.options import DataOptions
from inkdrop.data.tree import Tree, open_tree


def open_folder(path: Path, options: DataOptions) -> Dataset:
    """All pictures in a folder, by the rules of `open_tree`; each linked folder is entered once."""
    return open_tree(
        Tree(path.resolve().name or str(path), list_files(path), lambda name: path / name), options
    )


def list_files(path: Path) -> list[str]:
    """Relative names, separated by /, of all files below a folder; hidden folders are skipped."""
    names: list[str] = []
    seen: set[str] = set()
    for folder, inner, files in os.walk(path, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        inner[:] = [] if real in seen else [name for name in inner if not name.startswith(".")]
        if real not in seen:
            names += [(Path(folder) / file).relative_to(path).as_posix() for file in files]
        seen.add(real)
    return names


def _refuse(error: OSError) -> None:
    raise ValueError(f"the folder {error.filename} cannot be read: {error.strerror}")
