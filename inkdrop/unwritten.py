"""Why a file could not be written, as one sentence that names it and the way out."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from inkdrop.printable import size

# What an error number means for whoever wants to write, and what to do about it.
REASONS = {
    errno.ENOSPC: ("the disk is full", "free some space and try again"),
    errno.EDQUOT: ("the quota of disk space is used up", "free some space and try again"),
    errno.EFBIG: ("no file may be this large here", "see `ulimit -f`, or give another place"),
    errno.EROFS: ("this file system can only be read", "give another place"),
    errno.EACCES: ("there is no permission", "change it, or give another place"),
    errno.EPERM: ("there is no permission", "change it, or give another place"),
    errno.EIO: ("the disk reports an error", "check it, or give another place"),
    errno.ENAMETOOLONG: ("the name is too long", "give a shorter one"),
    errno.EMFILE: ("too many files are open", "close some, or see `ulimit -n`"),
    errno.ENFILE: ("too many files are open", "close some, or see `ulimit -n`"),
}
SPACE = (errno.ENOSPC, errno.EDQUOT)
# Libraries say the number in words alone: Rust's, Python's own `shutil`, and NumPy's.
_NUMBER = re.compile(r"\(os error (\d+)\)|\[Errno (\d+)\]")
_CUT = re.compile(r"\d+ requested and \d+ written")
UNCHANGED = "was not written and any older version is unchanged"


@contextmanager
def naming(path: Path, outcome: str = UNCHANGED, needs: int = 0) -> Iterator[None]:
    """Turns whatever prevents the writing of `path` into an OSError of one sentence.

    outcome: what that means for the path; needs: the bytes to be written, where they are known
    Errors about other files pass unchanged.
    """
    try:
        yield
    except Exception as error:
        number = _number(error, path)
        if number is None:
            raise
        raise OSError(number, sentence(number, path, outcome, needs)) from error


def check_space(path: Path, needs: int) -> None:
    """OSError if fewer than `needs` bytes are free where `path` is to be written."""
    usage = shutil.disk_usage(_place(path))
    if usage.total and usage.free < needs:  # some network file systems know neither
        raise OSError(errno.ENOSPC, sentence(errno.ENOSPC, path, UNCHANGED, needs))


def sentence(number: int, path: Path, outcome: str = UNCHANGED, needs: int = 0) -> str:
    """The sentence for an error number."""
    reason, way = REASONS.get(number, (os.strerror(number), "give another place, or try again"))
    if number in SPACE:
        told = f"{size(shutil.disk_usage(_place(path)).free)} free"
        reason += f" ({size(needs)} needed, {told})" if needs else f" ({told})"
    return f"{reason}, so {path} {outcome}; {way}"


def _place(path: Path) -> Path:
    """The nearest folder above a path that exists."""
    return next(parent for parent in path.absolute().parents if parent.is_dir())


def _number(error: Exception, path: Path) -> int | None:
    """The error number of a failed write to `path`; None if it is another error."""
    if isinstance(error, ValueError):
        return None  # about what is read
    if isinstance(error, OSError) and error.errno is not None:
        # Temporary files lie beside the path; errors about files elsewhere are not about writing.
        named = error.filename
        about = named is None or _place(path) in Path(os.fsdecode(named)).absolute().parents
        return error.errno if about and not _told(error) else None
    said = _NUMBER.search(str(error))
    if said is not None:
        return int(said[1] or said[2])
    return errno.ENOSPC if isinstance(error, OSError) and _CUT.search(str(error)) else None


def _told(error: OSError) -> bool:
    """Whether an error has its sentence already, and not about a part of what is written here."""
    said = str(error.strerror)
    return said != os.strerror(error.errno or 0) and ".partial" not in said
