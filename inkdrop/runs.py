"""Where a run keeps its model: its checkpoints, and the newest undamaged one among them.

RUN/checkpoints/00000400/manifest.json   the sha256 of every file below
RUN/checkpoints/00000400/model/          a model folder with the averaged weights
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

from inkdrop import box
from inkdrop.files import must_exist, restore_folder, standing, standing_inside
from inkdrop.folder import NAME
from inkdrop.weights import read_json

MANIFEST = "manifest.json"


def is_run(names: Collection[str]) -> bool:
    """Whether a folder with these names in it is a run."""
    return "run.json" in names and ("metrics.jsonl" in names or "checkpoints" in names)


def checkpoints(run: Path) -> list[Path]:
    """The checkpoints of a run, oldest first, including damaged ones."""
    folder = run / "checkpoints"
    if not folder.is_dir():
        return []
    found = standing_inside(folder)
    return [found[name] for name in sorted(found) if name.isdigit()]


def newest_checkpoint(run: Path) -> tuple[Path | None, list[str]]:
    """The newest undamaged checkpoint of a run, and a sentence about each newer damaged one.

    (None, []) means that the run has no checkpoint yet. ValueError if all are damaged, so that
    training never starts over on top of them.
    """
    notes: list[str] = []
    for path in reversed(checkpoints(run)):
        fault = damage(path)
        if fault is None:
            return path, notes
        notes.append(f"the checkpoint {path} is damaged ({fault}) and is skipped")
    if notes:
        raise ValueError(
            f"every checkpoint in {run / 'checkpoints'} is damaged: {'; '.join(notes)};"
            " restore one of them, or train into another folder"
        )
    return None, notes


def restore(name: Path) -> None:
    """Puts back what a crash left aside: a model folder or run itself, and a run's checkpoints."""
    restore_folder(name)
    folder = name / "checkpoints"
    if folder.is_dir():
        for number in standing_inside(folder):
            restore_folder(folder / number)


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file matches its sha256."""
    file = path / MANIFEST
    changed = file.stat().st_mtime_ns if file.is_file() else 0
    return _damage(path.resolve(), changed)


@lru_cache(maxsize=64)  # hash gigabytes only once per process; checkpoints are never modified
def _damage(path: Path, changed: int) -> str | None:
    try:
        manifest = read_json(path / MANIFEST)
    except ValueError as error:
        return str(error)
    for name, digest in manifest.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if sha256(file) != digest:
            return f"{name} has changed since it was written"
    return None


def manifest(folder: Path) -> dict[str, str]:
    """The sha256 of every file in a folder, by path relative to the folder."""
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): sha256(p) for p in files}


def sha256(path: Path) -> str:
    """The sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def own_folder(name: str | Path) -> tuple[Path, list[str]]:
    """The model folder of a name, and a sentence about each damaged checkpoint that was skipped.

    A model folder names itself, and a run names the model of its newest undamaged checkpoint. If
    no such path exists, the name may be that of a bundled model. ValueError for anything else.
    """
    path = standing(box.find(name) or Path(name))
    if (path / NAME).is_file():
        return path, []
    if not must_exist(path, "model folder or run").is_dir():
        raise ValueError(f"{path} is a file; give a model folder or a run")
    newest, notes = newest_checkpoint(path)
    if newest is None:
        raise ValueError(f"{path} is neither a model folder nor a run with a checkpoint yet")
    return newest / "model", notes
