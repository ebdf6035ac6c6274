"""Tables about pictures: metadata.jsonl and metadata.csv with a row for each, as in Hugging Face's
imagefolder, and dataset.json with their labels, as the tools of StyleGAN and EDM write it.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any

from inkdrop.config import LONG, nearest
from inkdrop.data.columns import FILES, usual
from inkdrop.data.names import composed
from inkdrop.data.pictures.prepare import listed
from inkdrop.media.image import SUFFIXES

Row = dict[str, Any]

# Suffixes of files called metadata that are read, with an example.
_EXAMPLES = {
    ".jsonl": '{"file_name": "a.png", "text": "a red boat"}',
    ".csv": 'file_name,text and then a.png,"a red boat, at sea"',
}
# Suffixes of tables, which are named if they are not read.
TABLES = (".csv", ".tsv", ".json", ".jsonl", ".ndjson", ".parquet", ".xlsx", ".arrow")


def is_metadata(name: str) -> bool:
    """True for metadata.jsonl and metadata.csv in any folder, in any capitals."""
    path = PurePosixPath(name)
    return path.stem.lower() == "metadata" and path.suffix.lower() in _EXAMPLES


def is_labels(name: str) -> bool:
    """True for dataset.json in any folder, which may be a `label_list`."""
    return PurePosixPath(name).name.lower() == "dataset.json"


def metadata_texts(names: Sequence[str], text: Callable[[str], str]) -> dict[str, str]:
    """The texts of the metadata files by name; of dataset.json only if there are no others."""
    found = {name: text(name) for name in names if is_metadata(name)}
    if not found:
        for name in filter(is_labels, names):
            with suppress(ValueError):
                if label_list(read := text(name)) is not None:
                    found[name] = read
    return found


def label_list(text: str) -> list[tuple[str, object]] | None:
    """The pairs of a picture's name and its label in a dataset.json; None if it is something else.

    It is {"labels": [["00000/img00000000.png", 6], ...]}, or {"labels": null} without labels.
    """
    try:
        told = json.loads(text)["labels"]
        pairs = list((told.items() if isinstance(told, dict) else told) or ())
        named = [(name, label) for name, label in pairs]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return named if all(isinstance(name, str) and _is_picture(name) for name, _ in named) else None


def _is_picture(name: str) -> bool:
    """By the suffix: other programs have a dataset.json too, whose labels are names of classes."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def is_table(name: str) -> bool:
    """True for a file that by its suffix may be a table of captions or labels."""
    return PurePosixPath(name).suffix.lower() in TABLES


def read_metadata(
    texts: Mapping[str, str], pictures: Collection[str], where: str, asked: str | None = None
) -> tuple[dict[str, Row], set[str]]:
    """The metadata row of each picture by its name in the tree, and the columns that name pictures.

    texts: metadata files by name; a row names its picture relative to the metadata file's folder
    asked: the column with the pictures' names, if not file_name or another usual name

    Names are compared in one Unicode spelling, with / for a backslash. They may lack the suffix, or
    be relative to the tree or absolute. ValueError for a malformed row, one without a matching
    picture, or a second row for a picture.
    """
    about: dict[str, Row] = {}
    named = set[str]()
    lost: list[str] = []
    known = _Known.of(pictures)
    for file, text in texts.items():
        for place, row, column in _rows(text, file, where, asked):
            name = known.find(PurePosixPath(file).parent, row[column])
            if name in about:
                raise ValueError(f"{place} is a second row for {row[column]!r}; keep one of them")
            if name not in pictures:
                lost.append(name)
            about[name] = row
            named.add(column)
    if lost:
        raise ValueError(
            f"{len(lost):,} of {len(about):,} rows of metadata in {where} have no matching picture;"
            f" remove the rows or put the pictures back: {listed(lost)}."
            + nearest(lost[0], pictures)
        )
    return about, named


@dataclass(frozen=True)
class _Known:
    """The pictures of a tree by their name in one Unicode spelling; stems: those without suffix."""

    names: Mapping[str, str]
    stems: Mapping[str, str | None]

    @staticmethod
    def of(pictures: Collection[str]) -> _Known:
        """Of pictures by name; a stem of several has None."""
        stems: dict[str, str | None] = {}
        for name in pictures:
            stem = composed(str(PurePosixPath(name).with_suffix("")))
            stems[stem] = None if stem in stems else name
        return _Known({composed(name): name for name in pictures}, stems)

    def find(self, folder: PurePosixPath, told: str) -> str:
        """The picture that a row in this folder names, or the name in the tree if there is none."""
        plain = _normal(folder, told)
        slashed = told.replace("\\", "/")
        relative, parts = _normal(folder, slashed), _normal(PurePosixPath(), slashed).split("/")
        absolute = slashed.startswith("/") or slashed[1:3] == ":/"
        # Relative to the tree, and of an absolute name the longest end that is known.
        ends = ["/".join(parts[i:]) for i in range(len(parts) if absolute else 1)]
        for name in map(composed, (plain, relative, *ends)):
            found = self.names.get(name) or self.stems.get(name)
            if found is not None:
                return found
        return relative


def _column(columns: Sequence[str], asked: str | None) -> str | None:
    """The column that names pictures."""
    if asked is not None:
        return asked if asked in columns else None
    return next(iter(usual(columns, FILES)), None)


def _rows(text: str, file: str, where: str, asked: str | None) -> Iterator[tuple[str, Row, str]]:
    """The place of each row in words, the row, and the column that names the picture."""
    if is_labels(file):
        for name, label in label_list(text) or ():
            column = "vector" if isinstance(label, list) else "label"  # vectors are not read
            yield f"the list in {file} in {where}", {"file_name": name, column: label}, "file_name"
    elif file.lower().endswith(".csv"):
        yield from _csv_rows(text, file, where, asked)
    else:
        yield from _json_rows(text, file, where, asked)


def _json_rows(
    text: str, file: str, where: str, asked: str | None
) -> Iterator[tuple[str, Row, str]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines also splits at U+2028 etc.
        if not line.strip():
            continue
        place = f"{file} line {number} in {where}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place} is not JSON ({error}); correct it") from None
        column = _column(list(row), asked) if isinstance(row, dict) else None
        if column is None or not isinstance(row[column], str) or not row[column]:
            raise ValueError(
                f'{place} must be an object with "{asked or "file_name"}", such as'
                f" {_EXAMPLES['.jsonl']}"
            )
        yield place, row, column


def _csv_rows(
    text: str, file: str, where: str, asked: str | None
) -> Iterator[tuple[str, Row, str]]:
    header = text.partition("\n")[0].strip()
    marks = (mark for mark in ",;\t" if _column(header.replace('"', "").split(mark), asked))
    mark = next(marks, ",")  # spreadsheets write another one where the comma is the decimal point
    reader = csv.reader(io.StringIO(text, newline=""), strict=True, delimiter=mark)
    rows: list[tuple[str, Row]] = []
    try:
        columns = next(reader, [])
        named = _column(columns, asked)
        if named is None:
            found = ", ".join(columns)[:LONG]
            raise ValueError(
                f"{file} in {where} must start with the names of its columns, including"
                f" {asked or 'file_name'}, such as {_EXAMPLES['.csv']}, not {found!r}"
            )
        twice = [name for name in columns if name and columns.count(name) > 1]
        if twice:
            raise ValueError(f"{file} in {where} has two columns {twice[0]!r}; rename one of them")
        for values in reader:
            place = f"{file} line {reader.line_num} in {where}"
            if values:
                rows.append((place, _csv_row(columns, values, place, named)))
    except csv.Error as error:
        raise ValueError(
            f"{file} line {reader.line_num} in {where} is not CSV ({error}); correct it"
        ) from None
    whole = all(_is_whole(row.get("label")) for _, row in rows)
    for _, row in rows:
        if row.get("label") is not None and whole and named != "label":
            row["label"] = int(row["label"])
    for place, row in rows:
        yield place, row, named


def _csv_row(columns: Sequence[str], values: Sequence[str], place: str, named: str) -> Row:
    if len(values) != len(columns):
        raise ValueError(
            f"{place} has {len(values)} values for {len(columns)} columns; put a caption with"
            ' commas in double quotes, and write a double quote inside it as ""'
        )
    row: Row = {name: value or None for name, value in zip(columns, values, strict=True)}
    if row[named] is None:
        raise ValueError(f"{place} has an empty column {named}; write the picture's name there")
    return row


def _is_whole(label: str | None) -> bool:
    """True for None and for a number in its usual form; 007 counts as a word."""
    if label is None:
        return True
    return label.isascii() and label.isdigit() and len(label) < 19 and str(int(label)) == label


def _normal(folder: PurePosixPath, name: str) -> str:
    parts = [*folder.parts, *(part for part in name.split("/") if part not in ("", "."))]
    return "/".join(parts)
