"""What a shell completes besides commands and options: names that a model knows, and its classes.

Nothing heavy is imported: only small files of a model folder are read.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import click

from inkdrop import box
from inkdrop.conditioning.known import FILE, Known
from inkdrop.tasks.request import BOX

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The names that the model on the command line has learned, or those of the built-in one."""
    folder = _folder(ctx)
    try:
        known = None if folder is None else Known.read(folder)
    except ValueError:
        return []
    return [name for name in (() if known is None else known.names) if name.startswith(incomplete)]


def classes(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """The classes of that model."""
    folder = _folder(ctx)
    try:
        told = {} if folder is None else json.loads((folder / "model.json").read_text("utf-8"))
        labels = told.get("spec", {}).get("labels", [])
    except (OSError, ValueError, AttributeError):
        return []
    return [str(name) for name in labels if str(name).startswith(incomplete)]


# The options and arguments that are completed, by the names of their fields.
COMPLETE: dict[str, Complete] = {"prompt": names, "negative": names, "labels": classes}


def _folder(ctx: click.Context) -> Path | None:
    """The folder of the model on the command line; of a run, its newest checkpoint's."""
    name = str(ctx.params.get("model") or BOX)
    path = box.find(name) or Path(name)
    inside = sorted(path.glob("checkpoints/*/model"))
    found = inside[-1] if inside else path
    return found if (found / "model.json").is_file() or (found / FILE).is_file() else None
