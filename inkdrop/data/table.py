"""Parquet tables with a column of encoded pictures, as on the Hugging Face Hub."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from inkdrop.config import nearest
from inkdrop.data.captions import COLUMNS, complete
from inkdrop.data.dataset import Dataset
from inkdrop.data.labels import classes
from inkdrop.data.options import DataOptions
from inkdrop.data.pictures.prepare import EncodedPicture, prepare
from inkdrop.digest import digest

_IMAGES = ("image", "img", "picture", "png", "jpg", "jpeg", "webp", "bytes")
_LABELS = ("label", "labels", "class", "class_id", "category", "target", "y")
_NAMES = ("label_name", "class_name", "name")


def open_table(path: Path, options: DataOptions) -> Dataset:
    """Pictures from a Parquet file, whose encoded bytes stay in memory.

    The picture column holds bytes, or {bytes, path} as written by `datasets`. Labels (numbers or
    words) are in a column label or class, with names in class_name, label_name or name, or in the
    table's metadata; captions in caption, text or prompt. options.image, label and caption give
    other columns; options.split keeps the rows with that value in the column split. ValueError if
    a column is missing or the file cannot be read.
    """
    table = _read(path)
    columns = list(table.column_names)
    image = _pick(columns, options.image, _IMAGES, path.name, "image") or _binary(table, path.name)
    table, notes = _of_split(table, options.split, path.name)
    pictures = [_encoded(row, i, path) for i, row in enumerate(table[image].to_pylist())]
    if not pictures:
        raise ValueError(f"{path.name} has no rows; give a table with pictures")
    ready = prepare(pictures, options, path.name)
    table = table.take(ready.kept)
    labels, names = _labels(table, options.label, path.name)
    captions, missing = _captions(
        table, options.caption, [pictures[i].name for i in ready.kept], path
    )
    return Dataset(
        name=path.name,
        shape=ready.shape,
        store=ready.store,
        count=len(ready.kept),
        fingerprint=digest([ready.fingerprint, names, labels, captions]),
        labels=labels,
        label_names=names,
        captions=captions,
        notes=(*notes, *ready.notes, *missing),
    )


def _read(path: Path) -> Any:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise ValueError(
            f"{path.name} needs pyarrow; install it with: pip install 'inkdrop[parquet]'"
        ) from None
    try:
        return pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        said = " ".join(str(error).split())
        raise ValueError(
            f"{path.name} is corrupt, truncated or not a Parquet file ({said}); get it again"
        ) from None


def _pick(
    columns: Sequence[str], asked: str | None, known: Sequence[str], where: str, what: str
) -> str | None:
    """The requested column, else the first with a known name, else None."""
    if asked is None:
        return next((name for name in known if name in columns), None)
    if asked not in columns:
        raise ValueError(
            f"{where} has no column {asked!r} for {what}={asked!r}; it has"
            f" {', '.join(columns)}.{nearest(asked, columns)}"
        )
    return asked


def _binary(table: Any, where: str) -> str:
    """The only column of bytes, for tables without a column of a known name."""
    fields = [f for f in table.schema if "binary" in str(f.type)]
    if len(fields) != 1:
        raise ValueError(
            f"{where} has {len(fields)} columns of bytes that could be pictures; choose one with"
            f" image=... (the columns are {', '.join(table.column_names)})"
        )
    return str(fields[0].name)


def _of_split(table: Any, split: str | None, where: str) -> tuple[Any, list[str]]:
    if "split" not in table.column_names:
        if split is not None:
            raise ValueError(f"{where} has no column split; leave out split={split!r}")
        return table, []
    values = [str(value) for value in table["split"].to_pylist()]
    distinct = sorted(set(values))
    if split is None:
        shown = ", ".join(distinct)
        chooses = f"; split={distinct[0]!r} selects one" if len(distinct) > 1 else ""
        return table, [f"the splits {shown} are used together{chooses}"] if chooses else []
    if split not in distinct:
        raise ValueError(
            f"{where} has no split {split!r}; it has {', '.join(distinct)}."
            + nearest(split, distinct)
        )
    return table.take([i for i, value in enumerate(values) if value == split]), []


def _encoded(row: Any, number: int, path: Path) -> EncodedPicture:
    name = f"row {number}"
    file = row.get("path") if isinstance(row, dict) else None
    data = row.get("bytes") if isinstance(row, dict) else row
    if file:
        name += f" ({file})"
    return EncodedPicture(name, _loader(name, data))


def _loader(name: str, data: Any) -> Callable[[], Path | bytes]:
    def load() -> bytes:
        if not isinstance(data, bytes):
            raise ValueError(f"{name} holds {type(data).__name__} instead of an encoded picture")
        return data

    return load


def _labels(table: Any, asked: str | None, where: str) -> tuple[Any, tuple[str, ...]]:
    column = _pick(table.column_names, asked, _LABELS, where, "label")
    if column is None:
        return None, ()
    values = table[column].to_pylist()
    labels, names = classes(values, where)
    if not isinstance(values[0], int):
        return labels, names
    told = _schema_names(table, column)
    if told is not None and min(values) >= 0 and max(values) < len(told):
        return np.asarray(values, np.int64), told
    return labels, (_names_beside(table, labels, len(names)) if asked is None else None) or names


def _schema_names(table: Any, column: str) -> tuple[str, ...] | None:
    """Class names from the table's metadata, as written by `datasets`."""
    try:
        about = json.loads((table.schema.metadata or {})[b"huggingface"])
        return tuple(str(name) for name in about["info"]["features"][column]["names"])
    except (KeyError, TypeError, ValueError):
        return None


def _names_beside(table: Any, labels: Any, count: int) -> tuple[str, ...] | None:
    """Class names from a name column, if it has exactly one name per label."""
    column = _pick(table.column_names, None, _NAMES, "", "")
    if column is None:
        return None
    pairs = set(zip(labels.tolist(), map(str, table[column].to_pylist()), strict=True))
    names = dict(pairs)
    one_to_one = len(pairs) == len(names) == len(set(names.values())) == count
    return tuple(names[i] for i in range(count)) if one_to_one else None


def _captions(
    table: Any, asked: str | None, names: Sequence[str], path: Path
) -> tuple[tuple[str, ...] | None, list[str]]:
    column = _pick(table.column_names, asked, COLUMNS, path.name, "caption")
    if column is None:
        return None, []
    values = table[column].to_pylist()
    captions, notes = complete([None if v is None else str(v) for v in values], names)
    if captions is None and asked is not None:
        raise ValueError(
            f"{path.name} has no captions for caption={asked!r}: the column is empty; leave it out"
        )
    return captions, notes
