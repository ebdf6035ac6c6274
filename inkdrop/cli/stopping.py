"""How a training is stopped from outside: signals, a closed output, and the exit codes they give.

SIGINT, SIGTERM and SIGHUP, or a standard output that was closed, end a training after its update,
with a checkpoint. The exit code is a shell's for that signal (143 for SIGTERM), so that a scheduler
does not take it for a finished one.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TextIO, TypeVar

from inkdrop.cli.say import say_at_once, silence

if TYPE_CHECKING:
    from inkdrop.data.latents import Encoding
    from inkdrop.train.events import Event

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
CLOSED = 13  # SIGPIPE, which Python ignores: writing fails instead
# torchrun passes on the Ctrl-C that its processes got from the terminal already.
SAME = 0.5  # seconds within which a second SIGINT is the same one

E_ = TypeVar("E_", bound="Event | Encoding")


class Stopping:
    """The wish to stop, and what is lost if the program ends at once.

    event: set when a stop is asked for
    unsaved: True while there are updates that no checkpoint holds
    """

    def __init__(self) -> None:
        self.event = threading.Event()
        self.unsaved = False
        self._number, self._since = 0, 0.0

    @property
    def code(self) -> int:
        """The exit code: 0 if no stop was asked for."""
        return 128 + self._number if self._number else 0

    def take(self, number: int, frame: object) -> None:
        """The handler of all signals."""
        again = self.event.is_set()
        if not again:
            self.ask(number)
        if not self.unsaved:
            say_at_once("stopped; nothing is lost, and the same command goes on from here")
            sys.exit(self.code)
        if not again:
            say_at_once("stopping after this update, with a checkpoint; Ctrl-C leaves at once")
        elif number == signal.SIGINT and time.monotonic() - self._since > SAME:
            say_at_once("left at once: the updates since the last checkpoint are lost")
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)

    def ask(self, number: int) -> None:
        """Asks for a stop because of this signal."""
        self._number, self._since = number, time.monotonic()
        self.event.set()

    def following(self, events: Iterable[E_], *, alone: bool) -> Iterator[E_]:
        """The events of a training, from which it is known what has been saved.

        alone: False for one of several processes; none leaves at once while others wait for it
        """
        from inkdrop.train.events import Saved
        from inkdrop.train.updates import Update

        for event in events:
            if isinstance(event, Update):
                self.unsaved = True
            elif isinstance(event, Saved) and alone:
                self.unsaved = False
            yield event


@contextmanager
def stopping() -> Iterator[Stopping]:
    """Takes signals while it lasts; SystemExit at its end if one of them ended the work."""
    asked, before = Stopping(), dict[int, Any]()
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup and a shell's & ask for
            before[number] = signal.signal(number, asked.take)
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if asked.code:
        sys.exit(asked.code)


class Output:
    """Standard output; once it is closed (`| head`), it is silent and asks for a stop."""

    def __init__(self, file: TextIO, asked: Stopping) -> None:
        self._file, self._asked = file, asked

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, text: str) -> int:
        """Writes text, if there is still anyone to read it."""
        try:
            return self._file.write(text)
        except OSError:
            self._closed()
            return len(text)

    def flush(self) -> None:
        """Flushes what was written."""
        try:
            self._file.flush()
        except OSError:
            self._closed()

    def _closed(self) -> None:
        silence(self._file)
        if not self._asked.event.is_set():
            self._asked.ask(CLOSED)
