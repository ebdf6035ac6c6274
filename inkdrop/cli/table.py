"""All commands in groups, each with its file and a line of help.

To add a command, add a function to one of those files and a line here; tasks bring their own line.
"""

from __future__ import annotations

from importlib import import_module
from typing import NamedTuple

import click

from inkdrop.cli.habits import COMMANDS, dashed
from inkdrop.config import nearest
from inkdrop.tasks.request import TASKS


class Entry(NamedTuple):
    """A command's file, inkdrop/cli/FILE.py, and its line in `inkdrop --help`."""

    group: str
    file: str
    line: str


def _making(name: str) -> Entry:
    return Entry("Make", "make", str(TASKS[name].__doc__).split("\n")[0])


TABLE = {
    "generate": _making("generate"),
    "sample": Entry("Make", "make", "Make samples with your own model, on one sheet."),
    **{name: _making(name) for name in TASKS if name != "generate"},
    "train": Entry("Train", "train", "Train a model on your own data."),
    "data": Entry("Train", "data", "Check data before training: inkdrop data check PATH."),
    "distill": Entry("Train", "train", "Train a student that needs only a few steps."),
    "tune": Entry("Train", "tune", "Fit the sampler to a model: better samples in few steps."),
    "explain": Entry("Understand", "explain", "Draw a lecture's figures from your own model."),
    "evaluate": Entry("Understand", "evaluate", "Measure how close samples are to the data."),
    "likelihood": Entry("Understand", "evaluate", "Measure bits per dimension of data."),
    "compare": Entry("Understand", "tune", "Compare samplers: error and time against calls."),
    "samplers": Entry("Understand", "tune", "List samplers and grids, and when to use which."),
    "info": Entry("Models", "models", "Describe a model, or show how a file was made."),
    "convert": Entry("Models", "models", "Write a model in another program's layout, or in ours."),
    "engines": Entry("Models", "models", "List the engines that compute networks here."),
}


class Commands(click.Group):
    """Imports a command when it is run, and suggests the nearest name for a misspelt one."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(TABLE)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in TABLE:
            return None
        found = getattr(import_module(f"inkdrop.cli.{TABLE[cmd_name].file}"), cmd_name)
        assert isinstance(found, click.Command)
        return found

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in TABLE and not args[0].startswith("-"):
            said = f"there is no command {args[0]!r}"
            if (sentence := COMMANDS.get(dashed(args[0].lower()))) is not None:
                raise click.UsageError(f"{said}: {sentence}")
            raise click.UsageError(
                f"{said}; known are: {', '.join(TABLE)}.{nearest(args[0], TABLE)}"
            )
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands by group, without importing any."""
        for group in dict.fromkeys(entry.group for entry in TABLE.values()):
            with formatter.section(group):
                rows = [(name, entry.line) for name, entry in TABLE.items() if entry.group == group]
                formatter.write_dl(rows)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="inkdrop")
def commands() -> None:
    """Train diffusion models on your own data, sample from them, and see why they work.

    \b
    Start with:  inkdrop generate "a red heart" -o heart.png
                 inkdrop train ./photos
    Help on each command: inkdrop generate --help

    \b
    Not yet: img2img, upscaling, training a LoRA, and a page for the browser.
    """
