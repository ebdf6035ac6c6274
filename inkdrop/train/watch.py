"""Processes that train together watch each other, so that none waits for one that is gone.

Every process shows a sign of life every few seconds, in the store at which they have met. The first
one looks at all of them, and the others at the first one. A process that was killed, or that hangs
(its machine does not answer, it was suspended), is named, and the others end within 45 seconds. A
process that works alone for hours, such as on a preview, still shows signs of life.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from contextlib import suppress
from datetime import timedelta
from types import TracebackType

from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

BEAT = 3.0  # seconds between two signs of life
SILENT = 30.0  # seconds without one after which a process counts as lost
HURRY = 0.2  # seconds between two looks once a connection is broken
SAVING = 600.0  # seconds for which a checkpoint that is being written is waited for
FAILED = 2  # exit code
AGAIN = "the same command goes on from the last checkpoint"


class Watch:
    """One process's view of the others, as a context within which they watch each other.

    busy: held while a checkpoint is written, which is finished before the process is ended
    """

    def __init__(self, rank: int, size: int, busy: threading.Lock) -> None:
        self.rank, self.busy, self.here = rank, busy, socket.gethostname()
        self.others = range(1, size) if rank == 0 else range(1)
        attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        minute = timedelta(minutes=1)
        store = TCPStore(address, port, None, False, minute, wait_for_workers=False)
        self.store = PrefixStore(f"inkdrop/{attempt}", store)
        began = time.monotonic()
        self.signs = dict.fromkeys(self.others, ("", began))  # the last one, and when it came
        self.answered = began  # when the store last did
        self.done: set[int] = set()  # those that may end
        self.told: str | None = None  # what another process has found out
        self.over, self.hurry = threading.Event(), threading.Event()

    def __enter__(self) -> Watch:
        # The store may never answer, so one thread talks to it and another keeps the time.
        for work in (self._talk, self._watch):
            threading.Thread(target=work, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.over.set()
        if isinstance(error, SystemExit):
            self._tell(f"process {self.rank} on {self.here} was stopped")
        elif isinstance(error, ConnectionError):
            self._tell(str(error))
            if self.rank == 0:
                time.sleep(
                    3 * HURRY
                )  # for the others to read it, where this process keeps the store
        elif error is not None:
            self._tell(f"process {self.rank} on {self.here} has ended: {error or kind}")

    def finish(self) -> None:
        """Tells the others that this process has nothing left to do, and may end."""
        self._set(f"done/{self.rank}", "")

    def blame(self, error: RuntimeError) -> str:
        """A sentence about which process broke the connection with this error."""
        self.hurry.set()
        with suppress(ValueError):  # torchrun ends all at once, before the sentence is found
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        until = time.monotonic() + SILENT + 2 * BEAT
        while time.monotonic() < until:
            time.sleep(HURRY)
            found = self.fault()
            if found is not None:
                return found
        return f"the connection to another process was lost ({str(error).splitlines()[0]})"

    def fault(self) -> str | None:
        """A sentence about a process that is lost or has failed, or None."""
        now = time.monotonic()
        for other in self.others:
            sign, came = self.signs[other]
            if other in self.done:
                continue
            _, pid, host = sign.split(" ", 2) if sign else ("", "", "")
            name = f"process {other} on {host} (pid {pid})" if sign else f"process {other}"
            if host == self.here and not _alive(int(pid)):
                return self.told or f"{name} was killed; {AGAIN}"
            if now - came >= SILENT and (now - self.answered < SILENT or other == 0):
                return (
                    f"{name} has shown no sign of life for {now - came:.0f} seconds, so it hangs or"
                    f" is lost; {AGAIN}"
                )
        if now - self.answered >= SILENT:
            return f"the place where the processes met does not answer any more; {AGAIN}"
        return self.told

    def _talk(self) -> None:
        """Shows our signs of life, and notes those of the others, until the store is gone."""
        beats = 0
        with suppress(RuntimeError):
            while not self.over.is_set():
                beats += 1
                self.store.set(f"beat/{self.rank}", f"{beats} {os.getpid()} {self.here}")
                for other in self.others:
                    sign = self._read(f"beat/{other}") or ""
                    if sign != self.signs[other][0]:
                        self.signs[other] = sign, time.monotonic()
                    if self._read(f"done/{other}") is not None:
                        self.done.add(other)
                self.told = self._read("told")
                self.answered = time.monotonic()
                if not self.hurry.wait(BEAT):
                    continue
                self.over.wait(HURRY)

    def _read(self, key: str) -> str | None:
        return self.store.get(key).decode() if self.store.check([key]) else None

    def _tell(self, sentence: str) -> None:
        if self.told is None:  # the first to speak knows best
            self._set("told", sentence)

    def _set(self, key: str, value: str) -> None:
        """Writes to the store, if it answers."""

        def write() -> None:
            with suppress(RuntimeError):
                self.store.set(key, value)

        thread = threading.Thread(target=write, daemon=True)
        thread.start()
        thread.join(BEAT)

    def _watch(self) -> None:
        while not self.over.wait(BEAT):
            found = None if self.hurry.is_set() else self.fault()
            if found is not None:
                self._end(found)

    def _end(self, sentence: str) -> None:
        """Ends this process, whose main thread waits in a call that nothing can interrupt."""
        self._tell(sentence)
        with suppress(OSError):
            os.write(2, f"inkdrop: {sentence}\n".encode())
        if self.rank == 0:
            time.sleep(2 * BEAT)  # for the others to read it, where this process keeps the store
        self.busy.acquire(timeout=SAVING)
        os._exit(FAILED)


def _alive(pid: int) -> bool:
    """Whether a process of this machine exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True
