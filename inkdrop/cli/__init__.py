"""The command line: every command is a small function that shows what the library does.

Bad input is one sentence on standard error and exit code 2, never a traceback. Nothing heavy is
imported before a command needs it: `table.py` says where each command is.
"""

from __future__ import annotations

import os
import sys

import click

from inkdrop.cli.table import commands

__all__ = ["commands", "main"]


def main() -> None:
    """Runs a command and turns every expected error into one sentence."""
    # Threads that spin while they wait lose most of their time as soon as another program works
    # too: a training beside one made a tenth of the updates. Read once, when torch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    try:
        commands(standalone_mode=False)
    except (ValueError, FloatingPointError) as error:
        _leave(str(error))
    except OSError as error:
        _leave(_sentence(error))
    except click.ClickException as error:
        _leave(error.format_message())
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)


def _sentence(error: OSError) -> str:
    if error.strerror is None:
        return str(error)
    return error.strerror if error.filename is None else f"{error.strerror}: {error.filename}"


def _leave(sentence: str) -> None:
    click.echo(f"inkdrop: {sentence}", err=True)
    sys.exit(2)
