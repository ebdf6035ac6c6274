"""metadata.jsonl and metadata.csv, a row for each picture, as Hugging Face's imagefolder has."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from inkdrop.config import nearest
from inkdrop.data.pictures.prepare import listed

Row = dict[str, Any]

_EXAMPLES = {
    "metadata.jsonl": '{"file_name": "a.png", "text": "a red boat"}',
    "metadata.csv": 'file_name,text and then a.png,"a red boat, at sea"',
}


def is_metadata(name: str) -> bool:
    """By its name, in whatever folder."""
    return PurePosixPath(name).name in _EXAMPLES


def read_metadata(
    texts: Mapping[str, str], pictures: Collection[str], where: str
) -> dict[str, Row]:
    """What the files say of each picture that they name, by its name from the root of the tree.

    `texts` are the metadata files by name; file_name in them is relative to the file's folder.
    ValueError for a row that is broken, names no picture, or a picture that already has a row.
    """
    about: dict[str, Row] = {}
    lost: list[str] = []
    for file, text in texts.items():
        read = _csv_rows if file.endswith(".csv") else _json_rows
        for place, row in read(text, file, where):
            name = _normal(PurePosixPath(file).parent, row["file_name"])
            if name in about:
                raise ValueError(
                    f"{place} names {row['file_name']!r}, which has a row already; keep one"
                )
            if name not in pictures:
                lost.append(name)
            about[name] = row
    if lost:
        raise ValueError(
            f"{len(lost):,} of {len(about):,} rows of metadata in {where} name no picture that is"
            f" there, so remove them or put the pictures back: {listed(lost)}."
            + nearest(lost[0], pictures)
        )
    return about


def _json_rows(text: str, file: str, where: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines would cut within captions
        if not line.strip():
            continue
        place = f"{file} line {number} in {where}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place} is not JSON: {error}") from None
        named = isinstance(row, dict) and isinstance(row.get("file_name"), str)
        if not named or not row["file_name"]:
            raise ValueError(
                f'{place} must be an object with "file_name", such as {_EXAMPLES["metadata.jsonl"]}'
            )
        yield place, row


def _csv_rows(text: str, file: str, where: str) -> Iterator[tuple[str, Row]]:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: list[tuple[str, Row]] = []
    try:
        columns = next(reader, [])
        if "file_name" not in columns:
            raise ValueError(
                f"{file} in {where} must begin with the names of its columns, one of them"
                f" file_name, such as {_EXAMPLES['metadata.csv']}, not {', '.join(columns)!r}"
            )
        for values in reader:
            place = f"{file} line {reader.line_num} in {where}"
            if values:
                rows.append((place, _csv_row(columns, values, place)))
    except csv.Error as error:
        raise ValueError(
            f"{file} line {reader.line_num} in {where} is not valid CSV: {error}"
        ) from None
    whole = all(_is_whole(row.get("label")) for _, row in rows)
    for _, row in rows:
        if row.get("label") is not None and whole:
            row["label"] = int(row["label"])
    yield from rows


def _csv_row(columns: Sequence[str], values: Sequence[str], place: str) -> Row:
    if len(values) != len(columns):
        raise ValueError(
            f"{place} has {len(values)} values for {len(columns)} columns; a caption with commas"
            ' goes in double quotes, and a double quote in it is written ""'
        )
    row: Row = {name: value or None for name, value in zip(columns, values, strict=True)}
    if row["file_name"] is None:
        raise ValueError(f"{place} has nothing in its column file_name; name a picture there")
    return row


def _is_whole(label: str | None) -> bool:
    """True of a number as it would be written, and of nothing; 007 is a word."""
    if label is None:
        return True
    return label.isascii() and label.isdigit() and len(label) < 19 and str(int(label)) == label


def _normal(folder: PurePosixPath, name: str) -> str:
    parts = [*folder.parts, *(part for part in name.split("/") if part not in ("", "."))]
    return "/".join(parts)
