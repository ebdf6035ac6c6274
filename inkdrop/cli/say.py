"""Everything that commands print, line by line; bars and tables are in `screen.py`.

No other file of the command line writes to standard output or standard error, so names from files
and users always come out as plain text, whatever they contain and whatever the terminal can show.
"""

from __future__ import annotations

import io
import os
import sys

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
