"""Atomic replacement of files and folders, and checks of paths."""

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

HUB = "hf:"  # before the name of a model on the Hub, so that no misspelt path contacts it
_REPOSITORY = r"\w[\w.-]*/\w[\w.-]*"
# Suffixes of weight files, which are never folders or repositories.
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
# Temporary names, as `_beside` makes them.
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\..*)?")


def must_exist(path: str | Path, what: str = "file or folder") -> Path:
    """The path itself; ValueError unless it is a file or a folder, with the nearest name beside it.

    A device or a pipe is refused: reading one may never end.
    """
    path = Path(path)
    if path.is_file() or path.is_dir():
        return path
    if path.exists():
        raise ValueError(
            f"{path} is neither a file nor a folder but a device or a pipe; give a {what}"
        )
    if path.is_symlink():
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, which does not exist; correct the link"
        )
    if not path.parent.is_dir():
        must_exist(path.parent, "folder")
        raise ValueError(f"there is no {what} {path}: {path.parent} is not a folder")
    beside = (entry.name for entry in path.parent.iterdir() if not entry.name.startswith("."))
    raise ValueError(f"there is no {what} {path}.{nearest(path.name, beside)}")


def must_be_file(path: str | Path, what: str = "file") -> Path:
    """The path of a file that exists; ValueError for a folder, and as in `must_exist`."""
    path = must_exist(path, what)
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give a {what} in it")
    return path


def hub_name(path: str | Path) -> str | None:
    """The "org/name" of a model on the Hub, written "hf:org/name"; None for any other path."""
    found = re.fullmatch(rf"{HUB}({_REPOSITORY})", str(path))
    return None if found is None else found[1]


def hub_hint(path: str | Path) -> str:
    """The sentence for a path that is not there but could be a model's name on the Hub, or ""."""
    text, path = str(path), Path(path)
    if not re.fullmatch(_REPOSITORY, text) or path.suffix in FILES or path.parent.exists():
        return ""
    return f" For a model on the Hub, say {HUB}{text}"


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix; on success it is synced and renamed to it.

    On failure the temporary file is removed and `path` is unchanged. A missing parent folder is
    created. ValueError if `path` is a folder; OSError if the disk is full.
    """
    path = Path(os.path.realpath(path))  # a link is kept, and its target replaced
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
    """A temporary folder beside `path`; on success its files are synced and it is renamed to it.

    On failure it is removed and an older folder at `path` is unchanged. The older folder is moved
    aside for the instant between two renames; `restore_folder` recovers from a crash in between.
    ValueError if `path` is a file; OSError if the disk is full.
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
    """OSError or ValueError if a path is not writable; to be called before long work."""
    path = Path(os.path.realpath(path))
    place = next(parent for parent in path.parents if parent.exists())
    if not place.is_dir():
        raise ValueError(f"{place} is a file, so {path} cannot be created; give another name")
    if not os.access(place, os.W_OK):
        raise OSError(
            errno.EACCES, f"{path} cannot be written: no permission in {place}; give another place"
        )


def check_file(path: Path) -> None:
    """ValueError or OSError for a file that could not be written; to be called before long work."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it")
    check_writable(path)


def restore_folder(path: str | Path) -> bool:
    """Put the older folder back if a crash happened between the two renames; True if it did."""
    path = Path(path)
    older = _older(path)
    if path.exists() or not older.is_dir():
        return False
    os.replace(older, path)
    return True


def clear_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of killed processes in a folder that no process is writing to."""
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
    # A folder that is not empty cannot be replaced by a rename: move the older one aside first.
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
    """Wait until a file or folder is on disk."""
    if os.name == "nt":  # Windows cannot open folders, and syncs only files opened for writing
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
    """Raise a clear OSError if the disk is full, which safetensors reports only in its message."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT)
    if full or "No space left on device" in str(error):
        raise OSError(
            errno.ENOSPC,
            f"the disk is full, so {path} was not written and any older version is unchanged; free"
            " some space and try again",
        ) from error
