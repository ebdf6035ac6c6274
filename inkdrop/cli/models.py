"""The commands about models and files: info, convert, engines."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from inkdrop.cli.command import command
from inkdrop.cli.options import device_option
from inkdrop.cli.say import say


@command()
@click.argument("path")
def info(path: str) -> None:
    """Print the settings in a file, or describe a model.

    \b
    inkdrop info heart.png
    inkdrop info runs/photos
    """
    from inkdrop.media.image import is_picture
    from inkdrop.media.settings import settings_in, settings_lines

    file = Path(path)
    if is_picture(file) or file.suffix.lower() in (".npy", ".npz"):
        lines = settings_lines(settings_in(file))
    else:
        from inkdrop.convert.inspect.summary import summary
        from inkdrop.find import find

        found = find(path)
        lines = [*found.notes, *summary(found.path)]
    for line in lines:
        say(line)


@command()
@click.argument("model")
@click.argument("out")
@click.option("--to", help="Layout: folder (diffusers), single or inkdrop [by OUT's name].")
@click.option("--prediction", help="eps, v or x0, if the model's files are wrong about it.")
@click.option(
    "--zero-terminal-snr",
    is_flag=True,
    default=None,
    help="The model's schedule ends in pure noise [as its files say].",
)
@click.option("--variant", help="Variant of a folder's weights, such as fp16 [the plain ones].")
@click.option("--averaged", is_flag=True, help="Use the averaged (EMA) weights of a single file.")
@click.option(
    "--ignore", multiple=True, help="Skip weights whose names start with this (may repeat)."
)
@click.option("--half", is_flag=True, help="Write all weights in half precision [unchanged].")
@click.option(
    "--i-trust-this-pickle", is_flag=True, help="Open a pickle, with a restricted loader."
)
def convert(model: str, out: str, to: str | None, half: bool, **options: Any) -> None:
    """Write MODEL to OUT in another layout, with its text encoder, and account for every weight.

    MODEL and OUT are diffusers folders, single files or inkdrop folders. Control networks are
    converted too, and adapters in pickles become safetensors.

    \b
    inkdrop convert sd15.safetensors ./sd15
    inkdrop convert ./sd15 ./folder --to folder --half
    """
    from inkdrop.convert.convert import convert as converted
    from inkdrop.convert.files.options import ReadOptions
    from inkdrop.find import find

    read = ReadOptions(
        prediction=options["prediction"],
        zero_terminal_snr=options["zero_terminal_snr"],
        variant=options["variant"],
        averaged=options["averaged"],
        ignore=options["ignore"],
        trust_pickle=options["i_trust_this_pickle"],
    )
    found = find(model)
    for note in found.notes:
        say(note, err=True)
    for line in converted(found.path, out, to, read, half=half).lines():
        say(line)
    say(out)


@command()
@device_option
def engines(device: str | None) -> None:
    """List the engines that compute networks: their use and precision, or what is missing.

    \b
    inkdrop engines
    """
    from inkdrop.device import pick_device
    from inkdrop.engines import about

    for name, line in about(pick_device(device)).items():
        say(f"{name:10} {line}")
