"""Pictures in a folder and its sub-folders."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from inkdrop.data.dataset import Dataset
from inkdrop.data.names import as_utf8
from inkdrop.data.options import DataOptions
from inkdrop.data.pictures.prepare import listed
from inkdrop.data.tree import Tree, open_tree, visible
from inkdrop.runs import is_run


def open_folder(path: Path, options: DataOptions) -> Dataset:
    """All pictures in a folder, by the rules of `open_tree`; each linked folder is entered once.

    FIFOs, sockets and devices are never opened, whatever their names; they are noted.
    """
    files, special = split_files(path)
    named = {as_utf8(name): name for name in files}
    where = as_utf8(path.resolve().name or str(path))
    notes = [_special(special)] if special else []
    return open_tree(
        Tree(where, list(named), lambda name: path / named[name], tuple(notes)), options
    )


def list_files(path: Path) -> list[str]:
    """Relative names, with /, of all files below a folder; hidden folders and runs are skipped."""
    return split_files(path)[0]


def split_files(path: Path) -> tuple[list[str], list[str]]:
    """The names of all files below a folder as in `list_files`, and those of FIFOs and the like."""
    names: list[str] = []
    special: list[str] = []
    seen: set[str] = set()
    for folder, inner, files in os.walk(path, followlinks=True, onerror=_refuse):
        real = os.path.realpath(folder)
        if real in seen or (Path(folder) != path and is_run((*files, *inner))):
            inner.clear()  # a run's previews are not data: runs/ is often inside the data's folder
            continue
        seen.add(real)
        inner[:] = [name for name in inner if not name.startswith(".")]
        for file in files:
            whole = Path(folder) / file
            kind = special if _is_special(whole) else names
            kind.append(whole.relative_to(path).as_posix())
    return names, [name for name in special if visible(name)]


def _is_special(path: Path) -> bool:
    try:
        return not stat.S_ISREG(path.stat().st_mode)
    except OSError:  # such as a broken link, which is told when it is read
        return False


def _special(names: list[str]) -> str:
    which = "1 entry is" if len(names) == 1 else f"{len(names):,} entries are"
    return f"{which} not read, as a FIFO, socket or device is no file: {listed(sorted(names))}"


def _refuse(error: OSError) -> None:
    raise ValueError(f"the folder {error.filename} cannot be read: {error.strerror}")
