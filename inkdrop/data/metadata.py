"""metadata.jsonl and metadata.csv: one row per picture, as in Hugging Face's imagefolder."""

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
    """True for a metadata file in any folder, by its name."""
    return PurePosixPath(name).name in _EXAMPLES


def read_metadata(
    texts: Mapping[str, str], pictures: Collection[str], where: str
) -> dict[str, Row]:
    """The metadata row of each picture, by the picture's name relative to the root of the tree.

    texts: metadata files by name; a row's file_name is relative to the metadata file's folder.
    ValueError for a malformed row, one without a matching picture, or a second row for a picture.
    """
    about: dict[str, Row] = {}
    lost: list[str] = []
    for file, text in texts.items():
        read = _csv_rows if file.endswith(".csv") else _json_rows
        for place, row in read(text, file, where):
            name = _normal(PurePosixPath(file).parent, row["file_name"])
            if name in about:
                raise ValueError(
                    f"{place} is a second row for {row['file_name']!r}; keep one of them"
                )
            if name not in pictures:
                lost.append(name)
            about[name] = row
    if lost:
        raise ValueError(
            f"{len(lost):,} of {len(about):,} rows of metadata in {where} have no matching picture;"
            f" remove the rows or put the pictures back: {listed(lost)}."
            + nearest(lost[0], pictures)
        )
    return about


def _json_rows(text: str, file: str, where: str) -> Iterator[tuple[str, Row]]:
    for number, line in enumerate(text.split("\n"), 1):  # splitlines also splits at U+2028 etc.
        if not line.strip():
            continue
        place = f"{file} line {number} in {where}"
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{place} is not JSON ({error}); correct it") from None
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
                f"{file} in {where} must start with the names of its columns, including file_name,"
                f" such as {_EXAMPLES['metadata.csv']}, not {', '.join(columns)!r}"
            )
        for values in reader:
            place = f"{file} line {reader.line_num} in {where}"
            if values:
                rows.append((place, _csv_row(columns, values, place)))
    except csv.Error as error:
        raise ValueError(
            f"{file} line {reader.line_num} in {where} is not CSV ({error}); correct it"
        ) from None
    whole = all(_is_whole(row.get("label")) for _, row in rows)
    for _, row in rows:
        if row.get("label") is not None and whole:
            row["label"] = int(row["label"])
    yield from rows


def _csv_row(columns: Sequence[str], values: Sequence[str], place: str) -> Row:
    if len(values) != len(columns):
        raise ValueError(
            f"{place} has {len(values)} values for {len(columns)} columns; put a caption with"
            ' commas in double quotes, and write a double quote inside it as ""'
        )
    row: Row = {name: value or None for name, value in zip(columns, values, strict=True)}
    if row["file_name"] is None:
        raise ValueError(f"{place} has an empty column file_name; write the picture's name there")
    return row


def _is_whole(label: str | None) -> bool:
    """True for None and for a number in its usual form; 007 counts as a word."""
    if label is None:
        return True
    return label.isascii() and label.isdigit() and len(label) < 19 and str(int(label)) == label


def _normal(folder: PurePosixPath, name: str) -> str:
    parts = [*folder.parts, *(part for part in name.split("/") if part not in ("", "."))]
    return "/".join(parts)
