"""Atomic replacement of files and folders, and checks of paths."""

from __future__ import annotations

import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from inkdrop.config import nearest
from inkdrop.unwritten import check_space, naming

HUB = "hf:"  # before the name of a model on the Hub, so that no misspelt path contacts it
_REPOSITORY = r"\w[\w.-]*/\w[\w.-]*"
LONGEST = 255  # bytes of a file's name
# Suffixes of weight files, which are never folders or repositories.
FILES = (".safetensors", ".ckpt", ".pt", ".pth", ".bin")
# Temporary names, as `_beside` makes them.
_OLDER = re.compile(r"\.(.+)\.older")
_LEFTOVER = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\..*)?")


def must_exist(path: str | Path, what: str = "file or folder", others: Iterable[str] = ()) -> Path:
    """The path itself; ValueError unless it is a file or a folder, with the nearest name beside it.

    others: further names that may have been meant

    A device or a pipe is refused: reading one may never end. For a folder that a crash caught
    between the two renames of `commit_folder`, the older one.
    """
    path = standing(path)
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
    raise ValueError(f"there is no {what} {path}.{nearest(path.name, (*beside, *others))}")


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
def replacing(path: str | Path, needs: int = 0) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix; on success it is synced and renamed to it.

    On failure the temporary file is removed and `path` is unchanged. A missing parent folder is
    created. needs: the bytes to be written, where they are known. ValueError if `path` is a folder;
    OSError, in one sentence, for whatever prevents the writing.
    """
    path = Path(os.path.realpath(path))  # a link is kept, and its target replaced
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it")
    with _written(path, needs) as part:
        yield part
        _sync(part)
        os.replace(part, path)
        _sync(path.parent)


@contextmanager
def commit_folder(path: str | Path, needs: int = 0) -> Iterator[Path]:
    """A temporary folder beside `path`; on success its files are synced and it is renamed to it.

    On failure it is removed and an older folder at `path` is unchanged. The older folder is moved
    aside for the instant between two renames. After a crash in between, `standing` finds it for
    readers, and `restore_folder` puts it back. needs: the bytes to be written, where they are
    known. ValueError if `path` is a file; OSError, in one sentence, for whatever prevents the
    writing.
    """
    path = Path(os.path.realpath(path))
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; give the name of a folder")
    restore_folder(path)
    with _written(path, needs) as part:
        part.mkdir()
        yield part
        _sync_tree(part)
        _swap(part, path)


def append(path: Path, text: str) -> None:
    """Adds a text to the end of a file; OSError, in one sentence, for whatever prevents it."""
    with naming(path, "was not continued"), path.open("a", encoding="utf-8") as file:
        file.write(text)


def check_writable(path: str | Path, named: Path | None = None) -> None:
    """OSError or ValueError if a path is not writable; to be called before long work.

    named: what the message is about, if not the path itself
    """
    path = Path(os.path.realpath(path))
    place = next(parent for parent in path.parents if parent.exists())
    if not place.is_dir():
        raise ValueError(f"{place} is a file, so {path} cannot be created; give another name")
    if not os.access(place, os.W_OK):
        number, reason = errno.EACCES, f"no permission in {place}"
        if hasattr(os, "statvfs") and os.statvfs(place).f_flag & os.ST_RDONLY:
            number, reason = errno.EROFS, f"{place} is on a file system that can only be read"
        raise OSError(number, f"{named or path} cannot be written: {reason}; give another place")
    if len(os.fsencode(path.name)) > LONGEST:
        raise ValueError(f"the name of {path} is too long: it may have {LONGEST} bytes")


def check_file(path: Path) -> None:
    """ValueError or OSError for a file that could not be written; to be called before long work."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give the name of a file in it")
    check_writable(path)


def check_folder(path: Path) -> None:
    """ValueError or OSError for a folder in which no file could be written."""
    if path.exists() and not path.is_dir():
        raise ValueError(f"{path} is a file; give the name of a folder")
    check_writable(path / "a file", named=path)


def standing(path: str | Path) -> Path:
    """The path itself, or the older folder if a crash happened between the two renames.

    Nothing is changed, so it is for whoever only reads.
    """
    path = Path(path)
    older = _older(Path(os.path.realpath(path)))
    return older if not path.exists() and older.is_dir() else path


def standing_inside(folder: Path) -> dict[str, Path]:
    """The folders inside a folder by name; see `standing`."""
    entries = [entry for entry in folder.iterdir() if entry.is_dir()]
    older = {found[1]: e for e in entries if (found := _OLDER.fullmatch(e.name)) is not None}
    return older | {e.name: e for e in entries if not e.name.startswith(".")}


def restore_folder(path: str | Path) -> bool:
    """Put the older folder back if a crash happened between the two renames; True if it did."""
    path = Path(os.path.realpath(path))
    older = _older(path)
    if path.exists() or not older.is_dir():
        return False
    os.replace(older, path)
    return True


def clear_leftovers(folder: str | Path) -> None:
    """Remove the temporary files of killed processes in a folder that no process is writing to.

    A folder that one of them had moved aside is put back, unless the new one is there.
    """
    for entry in list(Path(folder).iterdir()):
        if _LEFTOVER.fullmatch(entry.name):
            _remove(entry)
        aside = _OLDER.fullmatch(entry.name)
        if aside is not None and not restore_folder(entry.with_name(aside[1])):
            _remove(entry)


@contextmanager
def _written(path: Path, needs: int) -> Iterator[Path]:
    """A temporary path beside `path`, which is removed on failure, in a sentence."""
    with naming(path, needs=needs):
        part = _beside(path)
        if needs:
            check_space(path, needs)
        try:
            yield part
        except BaseException:
            _remove(part)  # first, so that it does not count when the free space is told
            raise


def _beside(path: Path) -> Path:
    check_writable(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Cut, because the name with its additions must not be longer than a file system takes.
    return path.with_name(f".{path.stem[:32]}.{secrets.token_hex(4)}.partial{path.suffix}")


def _older(path: Path) -> Path:
    return path.parent / f".{path.name}.older"  # the root has no name that could be replaced


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
