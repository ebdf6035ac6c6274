"""Parquet files, read within limits: one, or the shards of a table in a folder."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from inkdrop.config import nearest
from inkdrop.data.limits import GIB, Room
from inkdrop.data.names import as_utf8, natural

# Names of splits, as in train-00000-of-00002.parquet, or of the folder that a shard is in.
SPLITS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
_ROWS = 16  # read at a time
_SHARD = re.compile(r"(?P<name>.*?)[-_.]?(?P<number>\d+)(-of-(?P<count>\d+))?(-[0-9a-f]{8,})?")


def open_files(paths: Sequence[Path]) -> list[Any]:
    """A pyarrow ParquetFile for each, with only its footer read; ValueError if one is bad."""
    try:
        import pyarrow
        import pyarrow.parquet as parquet
    except ImportError:
        raise ValueError(
            f"{paths[0].name} needs pyarrow; install it with: pip install 'inkdrop[parquet]'"
        ) from None
    found = []
    for path in paths:
        try:
            whole = as_utf8(str(path)) == str(path)  # pyarrow opens no other names itself
            found.append(
                parquet.ParquetFile(path if whole else pyarrow.BufferReader(path.read_bytes()))
            )
        except (pyarrow.ArrowException, OSError, ValueError) as error:
            raise _corrupt(path, error) from None
    return found


def read_columns(
    files: Sequence[Any], paths: Sequence[Path], columns: Sequence[str], room: Room
) -> Any:
    """These columns of all files as one pyarrow table; ValueError if they do not fit together.

    What will be unpacked is in the footers, and is checked before anything is. Values that are
    stored once but used many times are not in that sum, so a few rows are read at a time.
    """
    import pyarrow

    held = Room(room.max_gib, room.where)
    tables = []
    for file, path in zip(files, paths, strict=True):
        missing = [column for column in columns if column not in file.schema_arrow.names]
        if missing:
            raise ValueError(
                f"{path.name} has no column {missing[0]!r}, which {paths[0].name} has; they are not"
                " shards of one table, so give one of them"
            )
        for group, size in enumerate(_sizes(file, columns)):
            room.take(size)
            rows = max(1, min(_ROWS, int(room.max_gib * GIB) // max(size, 1)))
            for part in _batches(file, path, group, columns, rows):
                held.take(part.nbytes)
                tables.append(pyarrow.Table.from_batches([part]))
    if not tables:
        return files[0].schema_arrow.empty_table().select(list(columns))
    try:
        return pyarrow.concat_tables(tables, promote_options="permissive")
    except pyarrow.ArrowException as error:
        raise ValueError(
            f"the files {paths[0].name} to {paths[-1].name} have columns of other types"
            f" ({_line(error)}); they are not shards of one table, so give one of them"
        ) from None


def shards(paths: Sequence[Path], split: str | None, where: str) -> tuple[list[Path], list[str]]:
    """The files of a table in a folder, sorted naturally, and notes; split: only those of one.

    ValueError for a split that no file's name tells.
    """
    paths = sorted(paths, key=lambda path: natural(path.as_posix()))
    parts = {path: _split_of(path) for path in paths}
    known = sorted({part for part in parts.values() if part is not None})
    notes = [] if len(paths) == 1 else [f"{len(paths):,} Parquet files are read as one table"]
    if split is not None and known:
        if split not in known:
            raise ValueError(
                f"{where} has no split {split!r}; it has {', '.join(known)}.{nearest(split, known)}"
            )
        paths = [path for path in paths if parts[path] == split]
        notes = []
    elif len(known) > 1:
        shown = ", ".join(known)
        notes = [f"the splits {shown} are used together; split={known[0]!r} selects one"]
    return paths, [*notes, *_missing(paths)]


def splits(paths: Sequence[Path]) -> bool:
    """Whether the names of files tell splits."""
    return any(_split_of(path) is not None for path in paths)


def _split_of(path: Path) -> str | None:
    """The split in the name of a file, or of its folder."""
    found = _SHARD.fullmatch(path.stem)
    for name in (path.stem if found is None else found["name"], path.parent.name):
        if name.lower() in SPLITS:
            return name
    return None


def _missing(paths: Sequence[Path]) -> Iterator[str]:
    """Notes on shards that are numbered but not there."""
    sets: dict[tuple[str, int], set[int]] = {}
    for path in paths:
        found = _SHARD.fullmatch(path.stem)
        if found is not None and found["count"] and len(found["count"]) < 7:
            key = (as_utf8(str(path.parent / found["name"])), int(found["count"]))
            sets.setdefault(key, set()).add(int(found["number"]))
    for (name, count), there in sets.items():
        if len(there) < count:
            yield f"only {len(there)} of the {count} shards of {Path(name).name} are there"


def _sizes(file: Any, columns: Sequence[str]) -> Iterator[int]:
    """The bytes that these columns take in each group of rows, as the file says."""
    for group in range(file.metadata.num_row_groups):
        about = file.metadata.row_group(group)
        leaves = (about.column(i) for i in range(about.num_columns))
        yield sum(
            leaf.total_uncompressed_size
            for leaf in leaves
            if any(f"{leaf.path_in_schema}.".startswith(f"{column}.") for column in columns)
        )


def _batches(file: Any, path: Path, group: int, columns: Sequence[str], rows: int) -> Iterator[Any]:
    import pyarrow

    try:
        yield from file.iter_batches(batch_size=rows, row_groups=[group], columns=list(columns))
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _corrupt(path, error) from None


def _corrupt(path: Path, error: Exception) -> ValueError:
    return ValueError(
        f"{path.name} is corrupt, truncated or not a Parquet file ({_line(error)}); get it again"
    )


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
