"""What commands draw with rich: progress bars, lines above them, and tables."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.progress import TextColumn
from rich.table import Table
from rich.text import Text

from inkdrop.printable import printable

LEAST = 72  # columns of a table: a narrower terminal breaks its lines rather than its words
UNBROKEN = 500  # columns of a table that is not shown on a terminal


class Screen(Console):
    """A console on which text is never markup, and never controls the terminal.

    err: on standard error; quiet: shows nothing
    """

    def __init__(self, *, err: bool = False, quiet: bool = False) -> None:
        super().__init__(stderr=err, quiet=quiet, markup=False, highlight=False, emoji=False)

    def say(self, line: object = "") -> None:
        """Prints one line, above a progress bar if there is one."""
        self.print(str(line), soft_wrap=not self.is_terminal)

    def table(self, table: Table) -> None:
        """Prints a table, whose cells may be text of any kind."""
        width = self.width
        self.width = max(width, LEAST) if self.is_terminal else UNBROKEN
        self.print(table)
        self.width = width

    def render_str(self, text: str, **how: Any) -> Text:  # every text that rich shows comes here
        return super().render_str(printable(text), **{**how, "markup": False})

    def on_broken_pipe(self) -> None:
        raise


def words(template: str) -> TextColumn:
    """A column of a progress bar, with the fields of its `task`."""
    return TextColumn(template, markup=False)
