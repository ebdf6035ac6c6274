"""Parquet tables with a column of encoded pictures, as on the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inkdrop.config import nearest
from inkdrop.data.captions import Captions, complete, texts_of
from inkdrop.data.columns import CAPTIONS, IMAGES, LABELS, pick, unread, usual
from inkdrop.data.dataset import Dataset
from inkdrop.data.labels import classes
from inkdrop.data.limits import Room
from inkdrop.data.options import DataOptions
from inkdrop.data.parquet import open_files, read_columns, shards
from inkdrop.data.pictures.prepare import prepare
from inkdrop.data.pictures.stored import EncodedPicture
from inkdrop.digest import digest

_NAMES = ("label_name", "class_name", "name")


def open_table(path: Path, options: DataOptions) -> Dataset:
    """Pictures from a Parquet file, whose encoded bytes stay in memory; see `open_shards`."""
    return open_shards([path], options, path.name)


def open_shards(paths: Sequence[Path], options: DataOptions, where: str) -> Dataset:
    """Pictures from Parquet files that are one table, in the natural order of their names.

    The picture column holds bytes, or {bytes, path} as written by `datasets`. Labels (numbers or
    words) are in a column label or class, with names in class_name, label_name or name, or in the
    table's metadata; captions are in caption, text, prompt or another of `columns.CAPTIONS`, one
    or a list of them for each picture. options.image, label and caption give other columns;
    options.split keeps the rows with that value in the column split, or the files of that name.
    ValueError if a column is missing or a file cannot be read.
    """
    chosen, notes = shards(paths, options.split, where)
    files = open_files(chosen)
    schema = files[0].schema_arrow
    columns = list(dict.fromkeys(schema.names))
    image = pick(columns, options.image, IMAGES, where, "image") or _binary(schema, where)
    label = pick(columns, options.label, LABELS, where, "label")
    name = next(iter(usual(columns, _NAMES)), None)
    caption = _caption_column(schema, options.caption, {image, label}, where)
    split = "split" if "split" in columns else None
    wanted = dict.fromkeys(column for column in (image, label, name, caption, split) if column)
    table = read_columns(files, chosen, list(wanted), Room(options.max_gib, where))
    rows, parts = _of_split(table, None if len(chosen) < len(paths) else options.split, where)
    if not rows:
        raise ValueError(f"{where} has no rows; give a table with pictures")
    cells = table[image]
    pictures = [_encoded(cells, row) for row in rows]
    ready = prepare(pictures, options, where)
    rows = [rows[i] for i in ready.kept]
    labels, names = _labels(table, rows, label, name, options.label, where)
    names_of = [pictures[i].name for i in ready.kept]
    captions = _captions(table, rows, caption, options.caption, names_of, where)
    words = {field.name for field in schema if _is_text(field.type)}
    told = captions.first is not None
    read = {*wanted} if labels is not None else {*wanted} - {label}
    rest = unread(columns, read, words, told)
    return Dataset(
        name=where,
        shape=ready.shape,
        store=ready.store,
        count=len(ready.kept),
        fingerprint=digest([ready.fingerprint, names, labels, captions.several or captions.first]),
        labels=labels,
        label_names=names,
        captions=captions.first,
        several=captions.several,
        survey=ready.survey,
        names=names_of,
        notes=(*notes, *parts, *ready.notes, *captions.notes, *rest),
    )


def _binary(schema: Any, where: str) -> str:
    """The only column of bytes, for tables without a column of a usual name."""
    fields = [field for field in schema if "binary" in str(field.type)]
    if len(fields) != 1:
        raise ValueError(
            f"{where} has {len(fields)} columns of bytes that could be pictures; choose one with"
            f" --image (image=...); the columns are {', '.join(schema.names)}"
        )
    return str(fields[0].name)


def _is_text(kind: Any) -> bool:
    """Whether a column's type is a text, or a list of texts."""
    plain = str(getattr(kind, "value_type", kind))
    return plain in ("string", "large_string", "string_view")


def _caption_column(
    schema: Any, asked: str | None, used: Sequence[str | None] | set[str | None], where: str
) -> str | None:
    """The requested column, else the first with a usual name that holds texts and is not used."""
    if asked is not None:
        return pick(list(schema.names), asked, CAPTIONS, where, "caption")
    texts = [field.name for field in schema if _is_text(field.type) and field.name not in used]
    return pick(texts, None, CAPTIONS, where, "caption")


def _of_split(table: Any, split: str | None, where: str) -> tuple[list[int], list[str]]:
    """The rows of a split, and notes."""
    if "split" not in table.column_names:
        if split is not None:
            raise ValueError(f"{where} has no column split; leave out split={split!r}")
        return list(range(table.num_rows)), []
    values = [str(value) for value in table["split"].to_pylist()]
    distinct = sorted(set(values))
    if split is None:
        shown = ", ".join(distinct)
        chooses = f"; split={distinct[0]!r} selects one" if len(distinct) > 1 else ""
        notes = [f"the splits {shown} are used together{chooses}"] if chooses else []
        return list(range(table.num_rows)), notes
    if split not in distinct:
        raise ValueError(
            f"{where} has no split {split!r}; it has {', '.join(distinct)}."
            + nearest(split, distinct)
        )
    return [i for i, value in enumerate(values) if value == split], []


def _encoded(cells: Any, row: int) -> EncodedPicture:
    """The picture in a cell, whose bytes stay where Arrow has them until it is read."""
    name, cell = f"row {row}", cells[row]
    file = cell["path"].as_py() if _has(cell, "path") else None
    if file:
        name += f" ({file})"
    return EncodedPicture(name, _loader(name, cell))


def _has(cell: Any, field: str) -> bool:
    """Whether a cell is a struct with this field."""
    kind = cell.type
    return hasattr(kind, "get_field_index") and kind.get_field_index(field) >= 0 and cell.is_valid


def _loader(name: str, cell: Any) -> Callable[[], Path | bytes]:
    def load() -> bytes:
        data = cell["bytes"].as_py() if _has(cell, "bytes") else cell.as_py()
        if not isinstance(data, bytes):
            raise ValueError(f"{name} holds {type(data).__name__} instead of an encoded picture")
        return data

    return load


def _labels(
    table: Any,
    rows: Sequence[int],
    column: str | None,
    name: str | None,
    asked: str | None,
    where: str,
) -> tuple[Any, tuple[str, ...]]:
    if column is None:
        return None, ()
    whole = table[column].to_pylist()
    values = [whole[row] for row in rows]
    if asked is None and column != "label" and not all(isinstance(v, (int, str)) for v in values):
        return None, ()  # another usual name, such as category, may hold anything
    labels, names = classes(values, where)
    if not isinstance(values[0], int):
        return labels, names
    told = _schema_names(table, column)
    if told is not None and min(values) >= 0 and max(values) < len(told):
        return np.asarray(values, np.int64), told
    if asked is not None or name is None:
        return labels, names
    called = table[name].to_pylist()
    beside = _names_beside([str(called[row]) for row in rows], labels, len(names))
    return labels, beside or names


def _schema_names(table: Any, column: str) -> tuple[str, ...] | None:
    """Class names from the table's metadata, as written by `datasets`."""
    try:
        about = json.loads((table.schema.metadata or {})[b"huggingface"])
        names = about["info"]["features"][column]["names"]
    except (LookupError, TypeError, ValueError, RecursionError):
        return None
    return tuple(map(str, names)) if isinstance(names, list) else None


def _names_beside(called: Sequence[str], labels: Any, count: int) -> tuple[str, ...] | None:
    """Class names from a name column, if it has exactly one name per label."""
    pairs = set(zip(labels.tolist(), called, strict=True))
    names = dict(pairs)
    one_to_one = len(pairs) == len(names) == len(set(names.values())) == count
    return tuple(names[i] for i in range(count)) if one_to_one else None


def _captions(
    table: Any,
    rows: Sequence[int],
    column: str | None,
    asked: str | None,
    names: Sequence[str],
    where: str,
) -> Captions:
    if column is None:
        return Captions()
    whole = table[column].to_pylist()
    found = [texts_of(whole[row], f"{column} of row {row} in {where}") for row in rows]
    captions = complete(found, names, where)
    if captions.first is None and asked is not None:
        raise ValueError(
            f"{where} has no captions for caption={asked!r}: the column is empty; leave it out"
        )
    return captions
