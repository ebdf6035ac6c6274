"""The lock of a folder that one process at a time may write to, such as a run.

The file `lock` names its owner. On one machine the system knows whether the owner still lives
(flock). Between machines that share a disk, where that may not hold, the owner touches the file
every few seconds, and a lock that was not touched for long counts as left behind.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from inkdrop.files import check_writable
from inkdrop.unwritten import naming

NAME = "lock"
BEAT = 15.0  # seconds between two signs of life
FAR = 1e11  # seconds since 1970 beyond every date
STALE = 120.0  # seconds without one after which an owner on another machine counts as gone


@dataclass(frozen=True)
class Owner:
    """Who holds a lock; since: in seconds since 1970."""

    host: str
    pid: int
    work: str
    since: float

    def __str__(self) -> str:
        minutes = max(0.0, time.time() - self.since) / 60
        lasting = f"{minutes:.0f} minutes" if minutes >= 2 else "moments"
        return f"process {self.pid} on {self.host} ({self.work}, started {lasting} ago)"


@contextmanager
def locked(folder: str | Path, work: str) -> Iterator[list[str]]:
    """Holds the lock of a folder, which is created if need be and removed again if it stays empty.

    work: what is done, such as "training". Yields a sentence if a dead owner's lock was taken over.
    ValueError if another process holds the lock; nothing has been touched then.
    """
    folder = Path(folder)
    check_writable(folder / NAME)
    made = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        with naming(folder / NAME, "could not be written"):
            folder.mkdir(parents=True, exist_ok=True)
            handle, said = _taken(folder / NAME, work)
        over = threading.Event()
        beat = threading.Thread(target=_beat, args=(handle, over), daemon=True)
        beat.start()
        try:
            yield said
        finally:
            over.set()
            beat.join()
            (folder / NAME).unlink(missing_ok=True)  # before the close, which frees it
            os.close(handle)
    finally:
        with suppress(OSError):
            for place in made:
                place.rmdir()


def _taken(file: Path, work: str) -> tuple[int, list[str]]:
    """The open file of a lock that is now ours, and whose it was."""
    while True:
        if file.is_symlink() or (file.exists() and not file.is_file()):
            raise ValueError(
                f"{file} is a folder, a link or a pipe, where a file of this name says who writes"
                " to the folder; delete it, or use another folder"
            )
        handle = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            known = _hold(handle, file)
            if not _same(handle, file):
                os.close(handle)
                continue  # its owner removed it at this moment
            before = _owner(handle)
            said = [] if before is None else [_takeover(before, handle, file, known)]
            now = Owner(socket.gethostname(), os.getpid(), work, time.time())
            os.ftruncate(handle, 0)
            os.lseek(handle, 0, os.SEEK_SET)
            os.write(handle, json.dumps(asdict(now)).encode())
            return handle, said
        except BaseException:
            os.close(handle)
            raise


def _hold(handle: int, file: Path) -> bool:
    """Locks an open file; False where the system or the disk has no such locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise _refusal(file, _owner(handle)) from None
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL):
            return False
        raise
    return True


def _takeover(before: Owner, handle: int, file: Path, known: bool) -> str:
    """A sentence about the owner whose lock is taken over; ValueError if it may still live.

    known: no process of this machine holds the lock
    """
    if before.host == socket.gethostname() and known:
        return f"{before} has ended without giving {file.parent} free; its lock is taken over"
    age = _age(handle, file.parent)
    if age < 0:
        sign = "its last sign of life lies in the future, as the clocks here differ"
        raise _refusal(file, before, f"; {sign}; if it has ended, delete {file}")
    if age < STALE:
        sign = f"its last sign of life was {age:.0f} seconds ago"
        raise _refusal(file, before, f"; {sign}, and after {STALE:.0f} its lock is taken over")
    return f"{before} has shown no sign of life for {age:.0f} seconds; its lock is taken over"


def _refusal(file: Path, owner: Owner | None, more: str = "") -> ValueError:
    who = "another process" if owner is None else str(owner)
    return ValueError(
        f"{file.parent} is being written to by {who}{more}; wait until it has ended, or use another"
        " folder"
    )


def _age(handle: int, folder: Path) -> float:
    """Seconds since a lock's last sign of life, by the clock of the disk."""
    with tempfile.TemporaryFile(dir=folder) as now:
        return os.fstat(now.fileno()).st_mtime - os.fstat(handle).st_mtime


def _owner(handle: int) -> Owner | None:
    """The owner named in a lock's file; None if it names nobody."""
    os.lseek(handle, 0, os.SEEK_SET)
    try:
        owner = Owner(**json.loads(os.read(handle, 10_000)))
        known = isinstance(owner.host, str) and isinstance(owner.work, str)
        known = known and isinstance(owner.pid, int) and abs(owner.since) < FAR
    except (ValueError, TypeError, RecursionError):
        return None
    return owner if known else None


def _same(handle: int, file: Path) -> bool:
    """Whether an open file is the one at a path."""
    try:
        return os.path.samestat(os.fstat(handle), file.stat())
    except FileNotFoundError:
        return False


def _beat(handle: int, over: threading.Event) -> None:
    while not over.wait(BEAT):
        with suppress(OSError):
            os.utime(handle)
