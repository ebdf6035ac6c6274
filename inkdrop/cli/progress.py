"""The progress of sampling on the command line."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from inkdrop.cli.say import say

if TYPE_CHECKING:
    from inkdrop.make.make import Event, Made


def show(events: Iterable[Event], *, verbose: bool = False) -> Made:
    """Shows notes, and a progress bar if standard error is a terminal; returns the `Made`.

    verbose: a line on standard output for each step instead of the bar
    """
    from rich.progress import Progress

    from inkdrop.cli.screen import Screen
    from inkdrop.diffusion.samplers import Step
    from inkdrop.events import Note
    from inkdrop.make.make import Made

    screen = Screen(err=True)
    made: Made | None = None
    hidden = verbose or not screen.is_terminal
    with Progress(console=screen, transient=True, disable=hidden) as bar:
        task = bar.add_task("sampling", total=None)
        for event in events:
            if isinstance(event, Note):
                say(event.text, err=True)
            elif isinstance(event, Step):
                bar.update(task, completed=event.index + 1, total=event.total)
                if verbose:
                    say(f"step {event.index + 1} of {event.total}: t = {event.t:.4f}")
            elif isinstance(event, Made):
                made = event
    assert made is not None, "making ends with a Made"
    return made
