"""Help: every command is in a group and shows how it is called, and no line of it is cut off."""

from __future__ import annotations

import subprocess
import sys

import click
import pytest
from click.testing import CliRunner

from inkdrop.cli.table import TABLE, commands

WIDTH = 80  # columns of a terminal


def helped(*words: str) -> list[str]:
    """The lines of a command's help, on a terminal of 80 columns."""
    found = CliRunner().invoke(
        commands, [*words, "--help"], prog_name="inkdrop", terminal_width=WIDTH
    )
    assert found.exit_code == 0, found.output
    return found.output.splitlines()


@pytest.mark.parametrize("name", TABLE)
def test_every_command_shows_how_it_is_called(name: str) -> None:
    lines = helped(name)
    assert lines[0].startswith(f"Usage: inkdrop {name} ")
    assert any(line.strip().split()[:2] == ["inkdrop", name] for line in lines), lines
    assert not [line for line in lines if len(line) > WIDTH]


@pytest.mark.parametrize("name", TABLE)
def test_examples_give_only_options_that_the_command_has(name: str) -> None:
    command = commands.get_command(click.Context(commands), name)
    assert command is not None
    known = {option for each in command.params for option in (*each.opts, *each.secondary_opts)}
    examples = [line.split() for line in helped(name) if line.strip().startswith("inkdrop ")]
    given = {word for words in examples for word in words if word.startswith("-")}
    assert given <= known


def test_all_commands_stand_in_four_groups_and_no_line_is_cut_off() -> None:
    lines = helped()
    assert "..." not in "\n".join(lines).replace("COMMAND [ARGS]...", "")
    groups = ("Make", "Train", "Understand", "Models")
    starts = [lines.index(f"{group}:") for group in groups]
    assert starts == sorted(starts)
    listed = [line.split() for line in lines[starts[0] :] if line.startswith("  ")]
    assert [words[0] for words in listed] == list(TABLE)
    for words in listed:
        assert " ".join(words[1:]) == TABLE[words[0]].line


def test_help_of_all_commands_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from inkdrop.cli import main\n"
        "sys.argv = ['inkdrop', '--help']\n"
        "main()\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Understand:" in done.stdout
    loaded = set(done.stderr.split())
    assert "click" in loaded and not loaded & {"torch", "numpy", "PIL", "pydantic", "rich"}


def test_a_misspelt_command_suggests_the_nearest() -> None:
    found = CliRunner().invoke(commands, ["intepolate"], standalone_mode=False)
    assert isinstance(found.exception, click.UsageError)
    assert "'interpolate'" in found.exception.message
