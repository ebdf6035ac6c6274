"""Files and folders that are replaced whole or not at all, and paths that must exist."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inkdrop.config import nearest

# Ends of names that are files of weights, and never folders or repositories; what is written first.
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\..*)?")


def must_exist(path: str | Path, what: str = "file or folder") -> Path:
    """The path itself; ValueError with the nearest name beside it if nothing is there."""
    path = Path(path)
    if path.exists():
        return path
    if path.is_symlink():
        raise ValueError(f"{path} is a link to {os.readlink(path)}, which is not there")
    if not path.parent.is_dir():
        must_exist(path.parent, "folder")
        raise ValueError(f"there is no {what} {path}: {path.parent} is not a folder")
    beside = (entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    raise ValueError(f"there is no {what} {path}.{nearest(path.name, beside)}")


def is_hub_name(path: str | Path) -> bool:
    """True for "org/name" as the Hub names models, if no folder here is called org."""
    found = re.fullmatch(r"(\w[\w.-]*)/\w[\w.-]*", str(path))
    return found is not None and not Path(found[1]).exists() and Path(path).suffix not in FILES


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix; synced and renamed over it on success.

    On failure it is removed and what was at `path` stays as it was. A missing parent folder is
    made. ValueError if `path` is a folder; a full disk is an OSError that says so.
    """
    path = Path(os.path.realpath(path))  # a link stays a link: its target is replaced
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it")
    part = _beside(path)
    try:
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)
    except BaseException as error:
        _remove(part)
        _explain(error, path)
        raise


@contextmanager
def commit_folder(path: str | Path) -> Iterator[Path]:
    """A temporary folder beside `path`; its files are synced and it is renamed there on success.

    On failure it is removed and an older folder at `path` stays as it was. An older one is moved
    aside for the instant between two renames; `restore_folder` puts it back after a crash there.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; give the name of a folder")
    restore_folder(path)
    part = _beside(path)
    try:
        part.mkdir()
        yield part
        _sync_tree(part)
        _swap(part, path)
    except BaseException as error:
        _remove(part)
        _explain(error, path)
        raise


def check_writable(path: str | Path) -> None:
    """OSError or ValueError in words if nothing can be written at a path, before work for it."""
    path = Path(os.path.realpath(path))
    place = next(parent for parent in path.parents if parent.exists())
    if not place.is_dir():
        raise ValueError(f"{place} is a file, so there can be no {path}; give another name")
    if not os.access(place, os.W_OK):
        raise OSError(errno.EACCES, f"{path} cannot be written there; give a place where you may")


def restore_folder(path: str | Path) -> bool:
    """Put back the older folder if a crash came between the two renames; True if it did."""
    path = Path(path)
    older = _older(path)
    if path.exists() or not older.is_dir():
        return False
    os.replace(older, path)
    return True


def clear_leftovers(folder: str | Path) -> None:
    """Remove what killed processes left half written in a folder; nobody may be writing there."""
    for entry in Path(folder).iterdir():
        if _LEFTOVER.fullmatch(entry.name):
            _remove(entry)


def _beside(path: Path) -> Path:
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")


def _older(path: Path) -> Path:
    return path.with_name(f".{path.name}.older")


def _swap(part: Path, path: Path) -> None:
    older = _older(path)
    _remove(older)  # a crash after the last swap may have left it
    if path.exists():
        os.replace(path, older)
    try:
        os.replace(part, path)
    except BaseException:
        restore_folder(path)
        raise
    _sync(path.parent)
    _remove(older)


def _sync_tree(folder: Path) -> None:
    for entry in folder.rglob("*"):
        _sync(entry)
    _sync(folder)


def _sync(path: Path) -> None:
    """Wait until a file or a folder is on the disk."""
    if os.name == "nt":  # folders cannot be opened there, and files only for writing
        return
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _explain(error: BaseException, path: Path) -> None:
    """Raise an OSError in words if the disk is full; safetensors says so only in its text."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):
        raise OSError(
            errno.ENOSPC,
            f"the disk is full, so {path} was not written and what was there before is untouched;"
            " free some space and try again",
        ) from error
