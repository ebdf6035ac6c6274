"""Everything that commands print, line by line; bars and tables are in `screen.py`.

No other file of the command line writes to standard output or standard error, so names from files
and users always come out as plain text, whatever they contain and whatever the terminal can show.
"""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from typing import TextIO

from inkdrop.printable import printable


def say(line: object = "", *, err: bool = False) -> None:
    """Prints one line; err: to standard error."""
    stream = sys.stderr if err else sys.stdout
    if stream is not None:  # None is a stream that was closed before the start
        print(printable(line), file=stream, flush=True)


def prepare_streams() -> None:
    """Makes standard output and standard error accept any text, also where they are closed.

    A character that the terminal's encoding lacks is written as an escape.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    # Otherwise the first file that is opened would take a closed stream's number.
    while (number := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(number)


def say_at_once(line: str) -> None:
    """Prints one line to standard error from a signal handler, where buffers may not be used."""
    if os.environ.get("RANK", "0") != "0":  # of several processes, the first one speaks
        return
    with suppress(OSError):
        shown = "\x1b[?25h" if sys.stderr is not None and sys.stderr.isatty() else ""
        os.write(2, f"{shown}\ninkdrop: {line}\n".encode())  # a progress bar had hidden the cursor


def silence(stream: TextIO) -> None:
    """Sends what is still written to a closed stream nowhere, so that leaving raises no error."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
