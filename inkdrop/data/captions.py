"""Captions of pictures, from a metadata column or from text files beside the pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from inkdrop.config import nearest
from inkdrop.data.pictures.prepare import listed, share

COLUMNS = ("caption", "text", "prompt")
SUFFIXES = (".txt", ".caption")


def side_files(
    pictures: Sequence[str], files: Collection[str], asked: str | None
) -> dict[str, str]:
    """The text file beside each picture with the same stem, where there is one.

    asked: a suffix such as ".txt"; if it is a column's name, no files are used.
    """
    suffixes = SUFFIXES if asked is None else (asked,) if asked.startswith(".") else ()
    found = {}
    for name in pictures:
        beside = (f"{PurePosixPath(name).with_suffix('')}{suffix}" for suffix in suffixes)
        file = next((file for file in beside if file in files), None)
        if file is not None:
            found[name] = file
    return found


def tree_captions(
    pictures: Sequence[str],
    about: Mapping[str, Mapping[str, Any]],
    sides: Mapping[str, str],
    read: Callable[[str], str],
    asked: str | None,
    where: str,
) -> tuple[tuple[str, ...] | None, list[str]]:
    """A caption for each picture, or None, and the notes of `complete`.

    about: metadata rows by picture, which take precedence over the side files; read: the text of a
    file by name. ValueError if captions were requested and there are none.
    """
    columns = COLUMNS if asked is None else () if asked.startswith(".") else (asked,)

    def one(name: str) -> str | None:
        told = _told(about.get(name, {}), columns, f"{name} in {where}")
        return read(sides[name]).strip() if told is None and name in sides else told

    found = [one(name) for name in pictures]
    if asked is not None and all(caption is None for caption in found):
        raise ValueError(_none(asked, about, where))
    return complete(found, pictures)


def complete(
    found: Sequence[str | None], names: Sequence[str]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """A caption for each picture ("" if it lacks one), or None if all lack one; and notes.

    The notes count and list the pictures with a missing or empty caption.
    """
    pairs = list(zip(names, found, strict=True))
    missing = [name for name, caption in pairs if caption is None]
    empty = [name for name, caption in pairs if caption is not None and not caption.strip()]
    if len(missing) == len(found):
        return None, []
    notes = []
    if missing:
        start = share(len(missing), len(found))
        notes.append(f"{start} without a caption; an empty one is used: {listed(missing)}")
    if empty:
        notes.append(f"{share(len(empty), len(found), 'caption')} empty: {listed(empty)}")
    return tuple(caption or "" for caption in found), notes


def _told(row: Mapping[str, Any], columns: Sequence[str], where: str) -> str | None:
    """The value of the first of these columns that is set in a metadata row, as text."""
    for column in columns:
        value = row.get(column)
        if isinstance(value, (list, dict)):
            raise ValueError(f"{column} of {where} must be a text, not {type(value).__name__}")
        if value is not None:
            return str(value)
    return None


def _none(asked: str, about: Mapping[str, Mapping[str, Any]], where: str) -> str:
    if asked.startswith("."):
        return (
            f"{where} has no captions for caption={asked!r}: no picture has a file of its own name"
            f" with that suffix beside it, as in a.png and a{asked}"
        )
    columns = list(dict.fromkeys(column for row in about.values() for column in row))
    held = f"the columns are {', '.join(columns)}" if columns else "there is no metadata"
    return (
        f"{where} has no captions for caption={asked!r}: no metadata.jsonl or metadata.csv has a"
        f" value in such a column; {held}.{nearest(asked, [*columns, '.txt'])}"
    )
