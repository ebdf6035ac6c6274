"""The commands that make samples: generate, sample, inpaint, edit, interpolate, invert."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from inkdrop.cli.asked import files_and_prompt, requested, settings_for
from inkdrop.cli.command import command
from inkdrop.cli.complete import names
from inkdrop.cli.options import Decorator, all_of, device_option, options_of, out_option
from inkdrop.cli.say import say
from inkdrop.tasks.request import (
    Edit,
    Generate,
    Inpaint,
    Interpolate,
    Invert,
    Request,
    Task,
    numbers,
)
from inkdrop.tasks.sampling import Sampling

if TYPE_CHECKING:
    from inkdrop.make.make import Event, Made

MOVING = (".webp", ".apng", ".gif")  # a walk in one of these is an animation
CARRYING = (".png", ".jpg", ".jpeg", ".webp", ".npz")  # files that hold their settings
NO_MODEL = {"model": None}  # for a command that no built-in model can serve
# Fields that do not apply to a single batch on a path.
WALKS = ("model", "count", "first", "batch", "weak")

_control_options = all_of(
    click.option("--control", multiple=True, help="A control network, with a --hint (may repeat)."),
    click.option("--hint", multiple=True, help="The control network's picture (may repeat)."),
    click.option(
        "--control-scale",
        type=float,
        multiple=True,
        help="Strength of the control network [1] (may repeat).",
    ),
)


_sides = all_of(
    click.option("-W", "--width", type=int, help="Width in pixels, with --height, as --size."),
    click.option("-H", "--height", type=int, help="Height in pixels, with --width, as --size."),
)


def making(
    task: type[Task],
    out: str,
    *,
    without: tuple[str, ...] = (),
    defaults: Mapping[str, Any] | None = None,
) -> Decorator:
    """All options of a command that makes samples: those of its task, request and sampling.

    without: fields that are arguments of the command, or do not apply to it
    defaults: the command's own defaults, for --help
    """
    fixed = without if task is Edit else (*without, "picture_guidance")
    return all_of(
        click.option("--like", help="A file made by this command: make the same again."),
        options_of(task),
        options_of(Request, without=without, defaults=defaults),
        *([] if "size" in without else [_sides]),
        *([_control_options] if task is Generate else []),
        options_of(Sampling, without=fixed),
        device_option,
        click.option("-v", "--verbose", is_flag=True, help="Print a line for every step."),
        out_option(out),
    )


@command()
@click.argument("prompt", required=False, shell_complete=names)
@click.option("-p", "--prompt", "words", help="The same as PROMPT.", shell_complete=names)
@making(Generate, "picture.png", without=("prompt",))
def generate(words: str | None, **options: Any) -> None:
    """Make a picture of PROMPT, with the built-in model or any other.

    The PNG contains its settings: `inkdrop info` prints them, and --like repeats them.

    \b
    inkdrop generate "a red heart" -o heart.png
    inkdrop generate "a lighthouse" --model ./sd15 --size 512x768 --count 4
    """
    like = options["like"]
    if words is not None and options["prompt"] is not None:
        raise ValueError("the prompt is given twice, as PROMPT and as --prompt; give it once")
    options["prompt"] = options["prompt"] if words is None else words
    if options["prompt"] is None and (
        like is None or "prompt" not in settings_for(like, "generate")
    ):
        raise ValueError('the prompt is missing; give one, as in: inkdrop generate "a smiling cat"')
    made, out = _make("generate", options, scale=1, carries=True)
    say(_named(made.save(out)))


@command()
@click.argument("model", metavar="RUN", required=False)
@making(Generate, "samples.png", without=("model",), defaults={"count": 16})
def sample(**options: Any) -> None:
    """Make samples with RUN (a run or any model), on one sheet or as an array.

    \b
    inkdrop sample runs/photos --count 36 --steps 50 -o sheet.png
    inkdrop sample runs/digits --label 3 --label 7 -o digits.npz
    """
    if options["model"] is None and options["like"] is None:
        raise ValueError(
            "the model is missing; use inkdrop sample RUN, or --like FILE with a file made by it"
        )
    made, out = _make("generate", options, count=16)
    where = _named(made.save(out))
    seed, count = made.request.seed, made.request.count
    what = f"{count} samples of seed {seed} are" if count > 1 else f"a sample of seed {seed} is"
    say(f"{what} in {where}")
    if out.suffix.lower() not in made.medium.settings_in:
        holds = ", ".join(made.medium.settings_in)
        say(f"{out} cannot hold its settings for --like; {holds} can", err=True)


@command()
@click.argument("words", nargs=-1, metavar="PICTURE [MASK] PROMPT")
@making(Inpaint, "picture.png", without=("prompt", "size", "scale"), defaults=NO_MODEL)
def inpaint(words: tuple[str, ...], **options: Any) -> None:
    """Paint PROMPT into PICTURE where MASK is white; the rest stays unchanged, bit for bit.

    Without a MASK, the transparent parts of PICTURE are painted. Elsewhere transparency is kept.
    The model must be an inpainting model, trained on masks.

    \b
    inkdrop inpaint photo.png mask.png "a boat" --model ./sd-inpainting -o out.png
    """
    _painted("inpaint", words, "PICTURE [MASK] PROMPT", options)


@command()
@click.argument("words", nargs=-1, metavar="PICTURE PROMPT")
@making(Edit, "picture.png", without=("prompt", "size", "scale", "weak"), defaults=NO_MODEL)
def edit(words: tuple[str, ...], **options: Any) -> None:
    """Change PICTURE by the instruction PROMPT, with a model trained to edit.

    A transparent PICTURE is edited on white and keeps its transparency.

    \b
    inkdrop edit photo.png "make it winter" --model ./instruct-pix2pix -o out.png
    """
    _painted("edit", words, "PICTURE PROMPT", options)


@command()
@click.argument("model", required=False, metavar="[RUN]")
@making(Interpolate, "walk.png", without=WALKS)
def interpolate(**options: Any) -> None:
    """Walk between two prompts, seeds or files, with RUN or the built-in model.

    Writes the frames as a strip and as an animated WebP beside it; if --out ends in .webp, .apng
    or .gif, only as an animation; if it has a place for a number (frame_%d.png), as single files.

    \b
    inkdrop interpolate --prompts "cat face" "lion" -o walk.png
    inkdrop interpolate runs/photos --seeds 3 7 --frames 24
    """
    from inkdrop.media.numbered import is_numbered

    out = Path(options["out"])
    moving = out.suffix.lower() in MOVING
    film = out if moving else out.with_suffix(".webp") if out.name else None
    film = None if is_numbered(out) else film
    made, out = _make("interpolate", options, film=film)
    strip = "" if moving else _named(made.save(out))
    if film is not None:
        made.save_animation(film)
    animated = f"{', animated: ' if strip else ''}{film}" if film else ""
    say(f"walk: {strip}{animated}")


@command()
@click.argument("model", required=False, metavar="RUN")
@click.argument("files", nargs=-1, metavar="FILES")
@making(Invert, "inverted.png", without=(*WALKS, "seed", "size", "sampler", "eta", "tolerance"))
def invert(files: tuple[str, ...], **options: Any) -> None:
    """Find the noise that makes FILES; draw rows of originals, noise and reconstructions.

    \b
    inkdrop invert runs/photos cat.png --exact -o inverted.png
    """
    if options["like"] is None and not files:
        raise ValueError(
            "give RUN and the FILES to invert, or --like a file that this command made"
        )
    made, out = _make("invert", {**options, "pictures": files})
    where = _named(made.save(out))
    original, _, back = made.samples.chunk(3)
    error = (back - original).square().mean().sqrt().item()
    many = made.medium.many
    say(f"root mean square error of the reconstruction: {error:.2g} ({many} in [-1, 1])")
    say(f"originals, noise and reconstructions: {where}")


def _painted(task: str, words: tuple[str, ...], usage: str, options: dict[str, Any]) -> None:
    """Inpaint and edit: files and a prompt as arguments, and no default model."""
    told = files_and_prompt(words, usage, options["like"])
    if options["model"] is None and options["like"] is None:
        raise ValueError(
            "the model is missing; give --model an inpainting checkpoint for `inkdrop inpaint`, or"
            " an instruct-pix2pix checkpoint for `inkdrop edit`"
        )
    made, out = _make(task, {**options, **told}, carries=True)
    say(_named(made.save(out)))


def _make(
    task: str,
    options: dict[str, Any],
    *,
    carries: bool = False,
    film: Path | None = None,
    **usual: Any,
) -> tuple[Made, Path]:
    """Makes what the options request, with its progress shown; usual: the command's own defaults.

    carries: the file's format must be able to hold settings
    film: an animation that is written beside the file, or the file itself
    """
    from inkdrop.cli.progress import show
    from inkdrop.make.make import make
    from inkdrop.make.output import check_file, targets

    out = Path(options["out"])
    check_file(out, animated=out == film)
    if film not in (None, out):
        check_file(film, animated=True)
    if carries and out.suffix.lower() not in CARRYING:
        raise ValueError(
            f"the picture {out} cannot hold its settings; give --out one of {', '.join(CARRYING)}"
        )
    _check_layout(options, out, film)
    request, fetch = requested(task, options, usual)
    files = [] if out == film else targets(out, numbers(request))
    files = [*files, film] if film else files
    events = make(request, device=options["device"], out=None if out == film else out, fetch=fetch)
    return show(_announced(events, files), verbose=options["verbose"]), out


def _check_layout(options: dict[str, Any], out: Path, film: Path | None) -> None:
    """ValueError for options of a sheet, given for a file that is none."""
    from inkdrop.media.medium import ARRAYS
    from inkdrop.media.numbered import is_numbered

    array = out.suffix.lower() in ARRAYS
    single = "an animation" if out == film else "a file for each sample" if is_numbered(out) else ""
    kind = "an array" if array else single
    for name in ("columns", "scale") if array else ("columns",) if single else ():
        if options.get(name) is not None and (name, options[name]) != ("scale", 1):
            raise ValueError(f"--{name} is for a sheet, and {out} is {kind}; leave it out")


def _announced(events: Iterator[Event], files: list[Path]) -> Iterator[Event]:
    """The same events; at the first step, when all is checked, it says which files are replaced."""
    from inkdrop.diffusion.samplers import Step

    waiting = True
    for event in events:
        if waiting and isinstance(event, Step):
            waiting = False
            _say_replaced(files)
        yield event


def _say_replaced(files: list[Path]) -> None:
    there = [file for file in files if file.exists()]
    if there:
        verb = "exists" if len(there) == 1 else "exist"
        say(f"{_named(there)} {verb} and will be replaced", err=True)


def _named(files: list[Path]) -> str:
    """One file, or the first and the last of several."""
    return str(files[0]) if len(files) == 1 else f"{files[0]} to {files[-1]}"
