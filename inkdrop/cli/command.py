"""The commands of the command line: second names of options, and one sentence for what is wrong."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable

import click

from inkdrop.cli.habits import ARGUMENTS, VALUES, dashed, elsewhere, same


class Command(click.Command):
    """A command whose options have second names, and which points to the right one for others."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        names = same(self.name or "", self._long())
        ctx.token_normalize_func = lambda name: names.get(dashed(name), dashed(name))
        given = list(args)  # click takes them off the list one by one
        if ctx.resilient_parsing:  # a shell asks how to complete the words
            return super().parse_args(ctx, args)
        ctx.allow_extra_args = True  # so that the sentence about them is ours
        try:
            self._check_values(ctx, args)
            super().parse_args(ctx, args)
        except click.NoSuchOption as error:
            raise click.UsageError(self._pointed(error.option_name, given), ctx) from None
        except click.MissingParameter as error:
            name = error.param.make_metavar(ctx) if error.param is not None else "an argument"
            raise click.UsageError(f"{name} is missing{self._example()}", ctx) from None
        except click.BadParameter as error:
            opts = error.param.opts if error.param is not None else []
            more = next((VALUES[each] for each in opts if each in VALUES), "")
            raise click.BadParameter(error.message + more, ctx, error.param) from None
        if ctx.args:
            words = ", ".join(map(repr, ctx.args))
            extra = "the argument {} is" if len(ctx.args) == 1 else "the arguments {} are"
            raise click.UsageError(
                f"{extra.format(words)} too many; put a prompt or a path with spaces in quotes"
                f"{self._example()}",
                ctx,
            )
        return ctx.args

    def _check_values(self, ctx: click.Context, args: list[str]) -> None:
        """UsageError for an option in the place of another's value, as in --seeds 3 --frames 4.

        click would take it. As in --prompt=--seeds, a value may look like an option.
        """
        known = {
            name: each
            for each in self.params
            if isinstance(each, click.Option)
            for name in (*each.opts, *each.secondary_opts)
        }
        called = [self._called(ctx, word) for word in args]
        for place, name in enumerate(called):
            if name == "--":
                return
            option = known.get(name)
            if option is None or option.is_flag or option.count:
                continue
            values = called[place + 1 : place + 1 + option.nargs]
            if found := next((value for value in values if value in known), None):
                many = "a value" if option.nargs == 1 else f"{option.nargs} values"
                raise click.UsageError(f"{args[place]} takes {many}, but {found} follows", ctx)

    def _called(self, ctx: click.Context, word: str) -> str:
        """A word of the command line, if it is a second name of an option as the first one."""
        normal = ctx.token_normalize_func
        return f"--{normal(word[2:])}" if normal and word.startswith("--") else word

    def _example(self) -> str:
        """The first example of the help, as the end of a sentence."""
        lines = (line.strip() for line in (self.help or "").splitlines())
        found = next((line for line in lines if line.startswith("inkdrop ")), "")
        return f", as in: {found}" if found else ""

    def _long(self) -> set[str]:
        """The long names of this command's options, without dashes before them."""
        found = (name for each in self.params for name in (*each.opts, *each.secondary_opts))
        return {name[2:] for name in found if name.startswith("--")}

    def _pointed(self, option: str, words: list[str]) -> str:
        """The sentence for an option that this command does not have."""
        command, long = self.name or "", self._long()
        # "-steps" fails at "-s", so the word itself is looked for.
        word = next((w for w in words if w.startswith(option)), option).split("=")[0]
        name = dashed(word.lstrip("-"))
        said = f"there is no option {word}"
        meant = same(command, long).get(name, name)
        if meant in long:  # with one dash
            return f"{said}; with two dashes it is --{meant}"
        sentence = elsewhere(command).get(name, "")
        if sentence and self._has(sentence) and self._takes(name):
            return f"{said}: {sentence.format(command=command)}"
        near = difflib.get_close_matches(name, sorted(long), n=1, cutoff=0.7)
        hint = f"did you mean --{near[0]}?" if near else f"`inkdrop {command} --help` lists them"
        return f"{said} of `inkdrop {command}`; {hint}"

    def _takes(self, name: str) -> bool:
        """Whether this command takes an argument instead of an option of this name, if one does."""
        mine = {each.name for each in self.params if isinstance(each, click.Argument)}
        return name not in ARGUMENTS or bool(ARGUMENTS[name] & mine)

    def _has(self, sentence: str) -> bool:
        """Whether this command has all options that a sentence tells to use.

        A sentence with a command of its own is about that one.
        """
        told = {name.rstrip("-") for name in re.findall(r"--([a-z][a-z-]*)", sentence)}
        return "inkdrop " in sentence or told <= self._long()


def command(cls: type[Command] = Command) -> Callable[[Callable[..., None]], Command]:
    """As `click.command`, for a `Command`."""
    return click.command(cls=cls)
