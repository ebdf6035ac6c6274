"""Captions of pictures, from the column of a table or from text files beside the pictures."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any

from inkdrop.conditioning.tokenizer import sound
from inkdrop.config import nearest
from inkdrop.data.columns import CAPTIONS, usual
from inkdrop.data.names import composed
from inkdrop.data.pictures.prepare import listed, share

SUFFIXES = (".txt", ".caption")
MAX_TEXT = 1 << 29  # characters of all captions together; no real data has as many

# All captions of one picture, or None; training draws one of them each time.
Texts = tuple[str, ...]


@dataclass(frozen=True)
class Captions:
    """The captions of all pictures, and notes.

    first: one caption for each picture ("" if it lacks one), or None if all lack one
    several: all captions of each picture, if any picture has more than one
    """

    first: tuple[str, ...] | None = None
    several: tuple[Texts, ...] | None = None
    notes: tuple[str, ...] = ()


def side_files(
    pictures: Sequence[str], files: Collection[str], asked: str | None
) -> dict[str, str]:
    """The text file beside each picture with the same stem, where there is one.

    The suffix may be in any capitals, and the stem in either Unicode spelling.

    asked: a suffix such as ".txt"; if it is a column's name, no files are used.
    """
    suffixes = SUFFIXES if asked is None else (asked.lower(),) if asked.startswith(".") else ()
    known = dict[tuple[str, str], str]()
    for beside in sorted(files):  # of a.txt and a.TXT, the former counts
        path = PurePosixPath(beside)
        if path.suffix.lower() in suffixes:
            known[composed(str(path.with_suffix(""))), path.suffix.lower()] = beside
    found = {}
    for name in pictures:
        stem = composed(str(PurePosixPath(name).with_suffix("")))
        file = next((known[stem, s] for s in suffixes if (stem, s) in known), None)
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
) -> tuple[Captions, list[str]]:
    """The captions of the pictures, and the metadata columns that they are from.

    about: metadata rows by picture, which take precedence over the side files; read: the text of a
    file by name. ValueError if captions were requested and there are none.
    """
    columns = list(dict.fromkeys(column for row in about.values() for column in row))
    if asked is None:
        taken = [
            c for c in usual(columns, CAPTIONS) if _are_texts(row.get(c) for row in about.values())
        ]
    else:
        taken = [] if asked.startswith(".") else [asked]

    found = [_told(about.get(name, {}), taken, f"{name} in {where}") for name in pictures]
    beside = [
        sides.get(name) if t is None else None for name, t in zip(pictures, found, strict=True)
    ]
    read_texts = _read_all([file for file in beside if file is not None], read)
    found = [
        t if file is None else (read_texts[file],) for file, t in zip(beside, found, strict=True)
    ]
    if asked is not None and all(caption is None for caption in found):
        raise ValueError(_none(asked, columns, where))
    captions = complete(found, pictures, where)
    notes = (*captions.notes, *_lines(read_texts))
    return replace(captions, notes=notes), taken


def _read_all(files: Sequence[str], read: Callable[[str], str]) -> dict[str, str]:
    """The texts of the files by name; one ValueError for all that cannot be read."""
    texts, faults = dict[str, str](), dict[str, str]()
    for file in files:
        try:
            texts[file] = read(file).strip()
        except ValueError as error:
            faults[file] = str(error)
    if faults:
        first, *others = faults
        more = f"; {len(others):,} more cannot be read: {listed(others, 5)}" if others else ""
        raise ValueError(f"{faults[first]}{more}")
    return texts


def _lines(texts: Mapping[str, str]) -> list[str]:
    """A note on text files of several lines, which other trainers read in several ways."""
    long = [file for file, text in texts.items() if "\n" in text]
    if not long:
        return []
    return [
        f"{share(len(long), len(texts), 'text file')} of several lines, and all of a file is one"
        f" caption: {listed(long, 3)}; a list in a metadata.jsonl is a choice of captions"
    ]


def texts_of(value: object, where: str) -> Texts | None:
    """The captions in one cell of a table, a text or a list of them; None if it holds none.

    ValueError, which begins with `where`, for anything else.
    """
    if isinstance(value, (list, tuple)):
        texts = tuple(_text(part, where) for part in value if part is not None)
        return tuple(text for text in texts if text.strip()) or texts[:1] or None
    return None if value is None else (_text(value, where),)


def _text(value: object, where: str) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if not isinstance(value, (str, int, float)):
        raise ValueError(
            f"{where} must be a text or a list of texts, not {type(value).__name__}; choose another"
            " column with --caption (caption=...)"
        )
    return sound(str(value))


def is_words(value: object) -> bool:
    """Whether a cell of a table holds words, or a list of them, rather than numbers."""
    values = value if isinstance(value, (list, tuple)) else [value]
    return any(isinstance(v, str) and any(map(str.isalpha, v)) for v in values)


def complete(
    found: Sequence[Texts | None], names: Sequence[str], where: str = "the data"
) -> Captions:
    """The captions of all pictures, with notes that count and list those that are missing or empty.

    ValueError for more text than any captions have.
    """
    if sum(len(text) for texts in found for text in texts or ()) > MAX_TEXT:
        raise ValueError(
            f"the captions of {where} have more than {MAX_TEXT:,} characters together; shorten them"
        )
    missing = [n for n, texts in zip(names, found, strict=True) if texts is None]
    empty = [n for n, t in zip(names, found, strict=True) if t and not any(map(str.strip, t))]
    if len(missing) == len(found):
        return Captions()
    notes = []
    if missing:
        start = share(len(missing), len(found))
        notes.append(f"{start} without a caption; an empty one is used: {listed(missing)}")
    if empty:
        notes.append(f"{share(len(empty), len(found), 'caption')} empty: {listed(empty)}")
    several = tuple(texts or ("",) for texts in found)
    most = max(map(len, several))
    if most > 1:
        notes.append(f"pictures have up to {most} captions; training draws one of them each time")
    first = tuple(texts[0] for texts in several)
    return Captions(first, several if most > 1 else None, tuple(notes))


def _are_texts(values: Any) -> bool:
    """Whether all values of a column can be captions."""
    try:
        for value in values:
            texts_of(value, "")
    except ValueError:
        return False
    return True


def _told(row: Mapping[str, Any], columns: Sequence[str], where: str) -> Texts | None:
    """The captions in the first of these columns that is set in a metadata row."""
    for column in columns:
        texts = texts_of(row.get(column), f"{column} of {where}")
        if texts is not None:
            return texts
    return None


def _none(asked: str, columns: Sequence[str], where: str) -> str:
    if asked.startswith("."):
        return (
            f"{where} has no captions for caption={asked!r}: no picture has a file of its own name"
            f" with that suffix beside it, as in a.png and a{asked}"
        )
    held = f"the columns are {', '.join(columns)}" if columns else "there is no metadata"
    return (
        f"{where} has no captions for caption={asked!r}: no metadata.jsonl or metadata.csv has a"
        f" value in such a column; {held}.{nearest(asked, [*columns, '.txt'])}"
    )
