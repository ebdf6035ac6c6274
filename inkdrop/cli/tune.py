"""The commands about samplers: samplers, compare, tune."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkdrop.cli.command import Command, command
from inkdrop.cli.options import Decorator, device_option, given, options_of, out_option
from inkdrop.cli.say import say
from inkdrop.printable import shell
from inkdrop.tasks.sampling import Sampling

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from inkdrop.model import Model


FIGURES = (".png", ".pdf", ".svg", ".jpg", ".webp")


def opened(name: str, device: str | None) -> Model:
    """The model of any name; notes on assumptions go to standard error."""
    from inkdrop.find import open_with_notes

    model, notes = open_with_notes(name, device=device)
    for note in notes:
        say(note, err=True)
    return model


def sampling_of(options: dict[str, Any]) -> Sampling:
    """The sampling that these options describe."""
    from inkdrop.config import parse

    names = Sampling.__dataclass_fields__
    found = {name: value for name, value in given(options).items() if name in names}
    return parse(Sampling, found, "the command line")


def _guidance(*without: str) -> Decorator:
    """The options of guidance and the like, which also apply to the converged reference."""
    fixed = ("steps", "sampler", "eta", "tolerance", "picture_guidance", *without)
    return options_of(Sampling, without=fixed)


@command()
def samplers() -> None:
    """List samplers and grids: order, network calls per step, and when to use which.

    \b
    inkdrop samplers
    """
    from rich.table import Table

    from inkdrop.cli.screen import Screen
    from inkdrop.diffusion.names import ALIASES, GRID_ALIASES
    from inkdrop.diffusion.samplers import ABOUT
    from inkdrop.diffusion.times import GRIDS

    table = Table("sampler", "order", "calls", "fresh noise", "when", "also called", box=None)
    for name, about in ABOUT.items():
        others = ", ".join(other for other, meant in ALIASES.items() if meant == name)
        order, fresh = str(about.order), "yes" if about.fresh else ""
        table.add_row(name, order, str(about.calls), fresh, about.when, others)
    Screen().table(table)
    also = ", ".join(f"{other} ({meant})" for other, meant in GRID_ALIASES.items())
    say()
    say(f"grids: {', '.join(GRIDS)}; also {also}")


class Lists(Command):
    """A command whose options in `several` take all words up to the next option."""

    several = ("--steps", "--samplers")

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        spread, option = list[str](), ""
        for word in args:
            if word.startswith("-"):
                option = word if word in self.several else ""
                spread += [] if option else [word]
            else:
                spread += [option, word] if option else [word]
        return super().parse_args(ctx, spread)


@command(cls=Lists)
@click.argument("run")
@click.option("--steps", type=int, multiple=True, help="Numbers of steps [5 10 20 50].")
@click.option("--samplers", multiple=True, help="Names [ddim dpmpp_2m unipc deis heun].")
@click.option("--count", default=16, help="Number of samples to compare on.", show_default=True)
@_guidance()
@device_option
@out_option("compare.png")
def compare(run: str, steps: tuple[int, ...], samplers: tuple[str, ...], **options: Any) -> None:
    """Compare samplers on RUN: error and time against network calls, as a table and a figure.

    The error is the distance to the model's own converged sample from the same noise. The figure
    needs matplotlib: pip install 'inkdrop[explain]'.

    \b
    inkdrop compare runs/photos --steps 5 10 20 --samplers ddim unipc
    """
    from inkdrop.config import choose
    from inkdrop.explain.compared import compared_figure
    from inkdrop.explain.style import needs_matplotlib
    from inkdrop.files import check_file
    from inkdrop.tune.compare import SAMPLERS, Row, check
    from inkdrop.tune.compare import compare as compared
    from inkdrop.tune.problem import Problem

    out = Path(options["out"])
    needs_matplotlib()
    check_file(out)
    choose("format of a figure", out.suffix.lower(), dict.fromkeys(FIGURES))
    steps, samplers = steps or (5, 10, 20, 50), samplers or SAMPLERS
    check(samplers, steps)
    sampling = sampling_of(options)
    model = opened(run, options["device"])
    if out.exists():
        say(f"{out} exists and will be replaced", err=True)
    rows = list[Row]()
    say(f"{'sampler':<12} {'steps':>5} {'calls':>5} {'error':>9} {'seconds':>8}")
    for event in compared(
        model, steps=steps, samplers=samplers, count=options["count"], sampling=sampling
    ):
        if isinstance(event, Problem):
            known = event
            continue
        rows.append(event)
        say(
            f"{event.sampler:<12} {event.steps:>5} {event.calls:>5} {event.error:>9.5f}"
            f" {event.seconds:>8.2f}"
        )
    say(f"error of the converged reference: {float(known.doubt.mean()):.5f}")
    _save_figure(compared_figure(model, known, rows), out)
    say(f"figure: {out}")


def _save_figure(figure: Figure, path: Path) -> None:
    from inkdrop.files import replacing

    with replacing(path) as beside:
        figure.savefig(beside)


@command()
@click.argument("run")
@click.option("--steps", default=10, help="Number of steps to tune for.", show_default=True)
@click.option("--minutes", default=5.0, help="Time for the search.", show_default=True)
@click.option("--count", default=32, help="Number of noises to tune on.", show_default=True)
@_guidance("grid")
@device_option
def tune(run: str, steps: int, minutes: float, count: int, **options: Any) -> None:
    """Fit grid and sampler to RUN; from then on they are its default at this number of steps.

    Searches for the times that bring the model closest to its own converged samples, and tests them
    on other noises. If they beat every named grid, they are saved in the model folder.

    \b
    inkdrop tune runs/photos --steps 10 --minutes 5
    """
    from dataclasses import replace

    from inkdrop.lock import locked
    from inkdrop.model.folder import amend, check_amendable
    from inkdrop.runs import checkpoints
    from inkdrop.tune.fit import Fitted, fit

    sampling = sampling_of(options)
    check_amendable(run)
    if checkpoints(Path(run)):  # while a run is trained, its checkpoints come and go
        for note in click.get_current_context().with_resource(locked(run, "tuning")):
            say(note, err=True)
    model = opened(run, options["device"])
    for event in fit(model, steps, minutes=minutes, count=count, sampling=sampling):
        if not isinstance(event, Fitted):
            say(f"{event.error:.5f}  {event.sampler} on {event.found}")
    assert isinstance(event, Fitted)
    say(
        f"on other noises: {event.after:.5f} tuned, {event.best_named:.5f} with {event.named},"
        f" {event.before:.5f} with the default {event.default}"
    )
    if not event.better:
        say("the tuned grid is not better, so nothing was saved; allow more --minutes")
        return
    others = tuple(t for t in model.spec.tuned if t.steps != steps)
    where = amend(run, replace(model.spec, tuned=(*others, event.tuned)))
    say(f"saved in {where}; `{shell('sample', run, '--steps', steps)}` uses it")
