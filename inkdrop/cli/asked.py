"""What the options of a command that makes samples ask for: a request."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from inkdrop.cli.options import given
from inkdrop.cli.say import say
from inkdrop.tasks.request import Request, request_of

if TYPE_CHECKING:
    from inkdrop.tasks.request import Guide


def requested(
    task: str, options: Mapping[str, Any], usual: Mapping[str, Any]
) -> tuple[Request, bool]:
    """The request, and whether a model may be fetched from the Hub for it.

    usual: the command's own defaults
    """
    from inkdrop.files import hub_name

    changes = _changes(options)
    if options["model"] is not None:
        changes["weights"] = ""
    if changes.get("weak") is not None:
        changes["weak_weights"] = ""
    told = _liked(options["like"], task, changes)
    # A name that stands in a file is the wish of whoever made it, and not of the user.
    fetch = not any(hub_name(str(told.get(name))) for name in ("model", "weak"))
    return request_of(task, {**usual, **told}, changes), fetch


def files_and_prompt(words: tuple[str, ...], usage: str, like: str | None) -> dict[str, Any]:
    """PICTURE, MASK and PROMPT, told apart by their number; usage: all that the command takes.

    With --like, at most a prompt may be given; files come from the old settings.
    """
    from inkdrop.media.image import is_picture
    from inkdrop.tasks.added import Added

    if not (2 <= len(words) <= len(usage.split()) or (like is not None and len(words) < 2)):
        raise ValueError(
            f"give {usage}, with the prompt in quotation marks, not {len(words)} words; or --like"
            " with a PNG made by this command and, optionally, another PROMPT"
        )
    *paths, prompt = words or (None,)
    if prompt is not None and os.path.isfile(prompt) and is_picture(Path(prompt)):
        raise ValueError(f"the prompt {prompt!r} is a picture file; give {usage}")
    files = zip(("picture", "mask"), paths, strict=False)
    return {"prompt": prompt, **{name: Added.of(str(path), name) for name, path in files}}


def settings_for(like: str, task: str) -> dict[str, Any]:
    """The settings in a file; ValueError unless this task made it."""
    from inkdrop.media.settings import settings_in
    from inkdrop.tasks.request import check_task

    settings = settings_in(Path(like))
    check_task(settings, task, like)
    return settings


def _liked(like: str | None, task: str, changes: dict[str, Any]) -> dict[str, Any]:
    """The settings of --like that the user does not change, checked as a stranger's."""
    from inkdrop.tasks.like import liked

    if like is None:
        return {}
    found, notes = liked(settings_for(like, task), like, changes)
    for note in notes:
        say(note, err=True)
    return {name: value for name, value in found.items() if name not in changes}


def _changes(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options as fields of a request, with files as `Added`."""
    from inkdrop.tasks.added import Added, AddedWord

    found = given(options)
    sides = found.pop("height", None), found.pop("width", None)
    if sides != (None, None):
        if None in sides or "size" in found:
            raise ValueError("give both --width and --height, or --size HxW alone")
        found["size"] = sides[0] if sides[0] == sides[1] else sides
    elif "size" in found:
        found["size"] = _size(found["size"])
    if "loras" in found:
        found["loras"] = tuple(Added.of(text, "LoRA", weighed=True) for text in found["loras"])
    if "embeddings" in found:
        found["embeddings"] = tuple(AddedWord.named(text) for text in found["embeddings"])
    if "vae" in found:
        found["vae"] = Added.of(found["vae"], "autoencoder")
    if "pictures" in found:
        found["pictures"] = tuple(Added.of(text, "picture") for text in found["pictures"])
    guides = _guides(*(options.get(name, ()) for name in ("control", "hint", "control_scale")))
    return found | ({"controls": guides} if guides else {})


def _guides(
    controls: tuple[str, ...], hints: tuple[str, ...], scales: tuple[float, ...]
) -> tuple[Guide, ...]:
    """Each control network with its hint and strength, in the order given."""
    from dataclasses import replace

    from inkdrop.tasks.added import Added
    from inkdrop.tasks.request import Guide

    if len(controls) != len(hints) or len(scales) not in (0, len(controls)):
        raise ValueError(
            f"there are {len(controls)} --control, {len(hints)} --hint and {len(scales)}"
            " --control-scale; give one hint for each control network, and a scale for all or none"
        )
    each = zip(controls, hints, scales or (1.0,) * len(controls), strict=True)
    return tuple(
        Guide(replace(Added.of(c, "control network"), weight=scale), Added.of(h, "hint"))
        for c, h, scale in each
    )


def _size(text: str) -> int | tuple[int, int]:
    """A size from the command line: N or HxW."""
    sides = text.lower().split("x")
    if len(sides) > 2 or not all(side.isascii() and side.isdigit() for side in sides):
        raise ValueError(
            f"size is {text!r}; give pixels, such as 512, or height and width, such as 768x512"
        )
    return int(sides[0]) if len(sides) == 1 else (int(sides[0]), int(sides[1]))
