"""The files that samples are written to, checked before the work."""

from __future__ import annotations

from pathlib import Path

from inkdrop import files
from inkdrop.config import choose
from inkdrop.media.image import FORMATS
from inkdrop.media.medium import Medium, check_output
from inkdrop.media.numbered import is_numbered, numbered
from inkdrop.media.settings import CARRIERS, carried
from inkdrop.media.sheet import ANIMATED
from inkdrop.registry import MEDIA
from inkdrop.tasks.request import LARGEST, Request, settings_of

OPAQUE = ("JPEG",)  # formats without transparency


def check_file(path: Path, *, animated: bool = False) -> None:
    """ValueError or OSError, before any work, for a path that no medium can write to."""
    if path.is_dir():
        raise ValueError(f"{path} is a folder; give --out the name of a file in it")
    if not path.suffix:
        raise ValueError(f"{path} has no suffix to name its file format; use {path}.png")
    known = dict.fromkeys(suffix for medium in MEDIA.values() for suffix in medium.suffixes)
    choose("file format", path.suffix.lower(), dict.fromkeys(ANIMATED) if animated else known)
    for number in range(1 + is_numbered(path)):
        files.check_file(numbered(path, number))


def targets(path: Path, numbers: range) -> list[Path]:
    """The files that samples of these numbers are written to: one, or one for each."""
    return [numbered(path, number) for number in numbers] if is_numbered(path) else [path]


def check_result(path: Path, medium: Medium, request: Request, *, alpha: bool) -> None:
    """ValueError, before any step, for a file that cannot hold these samples or their settings.

    alpha: whether the samples have an alpha channel
    """
    check_output(medium, path)
    kind = FORMATS.get(path.suffix.lower())
    if kind in OPAQUE and alpha:
        raise ValueError(f"{path.name} cannot hold transparency; use .png or .webp")
    if kind in CARRIERS and path.suffix.lower() in medium.settings_in:
        carried(kind, settings_of(request), LARGEST, LARGEST)
