"""The command line: every command is a small function around the library.

Bad input gives one sentence on standard error and exit code 2, never a traceback. Nothing heavy is
imported before a command needs it: `table.py` lists the file of each command.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress

import click

from inkdrop.cli.memory import out_of_memory
from inkdrop.cli.say import prepare_streams, say
from inkdrop.cli.table import commands

__all__ = ["commands", "main"]


def main() -> None:
    """Runs a command and turns every expected error into one sentence."""
    # By default, waiting OpenMP threads spin, which is very slow when another program uses the CPU:
    # two trainings side by side ran at a tenth of their speed. Torch reads this when it loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if "WORLD_SIZE" in os.environ:  # otherwise torch prints its stack where a process is lost
        os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    prepare_streams()
    try:
        commands(standalone_mode=False)  # click leaves with 1 where nobody reads the output
    except (click.Abort, KeyboardInterrupt):  # click's own is a RuntimeError, so it comes first
        sys.exit(130)
    except (ValueError, FloatingPointError) as error:
        _leave(str(error))
    except OSError as error:
        _leave(out_of_memory(error) or _sentence(error))
    except (MemoryError, RuntimeError) as error:
        said = out_of_memory(error)
        if said is None:
            raise
        _leave(said)
    except click.exceptions.NoArgsIsHelpError as error:
        for line in error.format_message().splitlines():
            say(line, err=True)
        sys.exit(2)
    except click.ClickException as error:
        _leave(error.format_message())


def _sentence(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


def _leave(sentence: str) -> None:
    with suppress(OSError):  # the code says it too where nobody reads the sentence
        say(f"inkdrop: {sentence}", err=True)
    sys.exit(2)
