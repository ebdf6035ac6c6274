"""One entry point to all data: the kind of path decides how it is read."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from inkdrop.data.archive import open_archive
from inkdrop.data.array import open_array
from inkdrop.data.dataset import Dataset
from inkdrop.data.embedded import EMBEDDED, open_digits
from inkdrop.data.folder import list_files, open_folder
from inkdrop.data.idx import find_idx, is_idx, open_idx
from inkdrop.data.metadata import is_table
from inkdrop.data.names import as_utf8
from inkdrop.data.options import DataOptions
from inkdrop.data.pictures.buckets import Buckets
from inkdrop.data.pictures.prepare import Parts
from inkdrop.data.table import open_shards, open_table
from inkdrop.data.tree import is_picture, visible
from inkdrop.files import must_exist
from inkdrop.runs import is_run
from inkdrop.weights import read_json

Opener = Callable[[Path, DataOptions], Dataset]

_BY_SUFFIX: dict[str, Opener] = {
    ".zip": open_archive,
    ".npy": open_array,
    ".npz": open_array,
    ".parquet": open_table,
}
# Archives that are not read.
_PACKED = {".tar", ".tgz", ".tbz2", ".txz", ".gz", ".bz2", ".xz", ".zst", ".7z", ".rar"}


def open_data(
    path: str | Path,
    *,
    medium: str | None = None,
    size: int | None = None,
    channels: int | None = None,
    background: str = "white",
    image: str | None = None,
    label: str | None = None,
    caption: str | None = None,
    split: str | None = None,
    max_gib: float = 8.0,
) -> Dataset:
    """Open training data: a folder, .zip, .npy, .npz, .parquet, IDX files, or "digits".

    Several Parquet files in a folder are one table, such as the shards of `datasets`.

    medium: picture or series; by default arrays [N, C, L] of up to 4 channels are series and
        everything else is pictures; [N, L] is only read with medium="series"
    size: side of the square pictures in pixels; by default arrays keep theirs, and picture files
        get 64, or less: the shorter side that at least seven in eight of them have
    channels: 1 grey, 3 RGB, 4 RGBA; by default picture files are RGB if any of them has colour
    background: the colour behind transparent pictures, a name or #rrggbb
    image, label, caption: names of a table's columns or an .npz's arrays, if not the usual ones;
        in a folder they are columns of its metadata (image: of the pictures' file names), and
        caption may be the suffix of text files beside pictures
    split: the split to use, such as "train"; by default all are used together
    max_gib: the most GiB that the data of one file, or of one table, may unpack to

    ValueError, one sentence, if the path does not exist or cannot be read as data.
    """
    return _open(
        path,
        DataOptions(medium, size, channels, background, image, label, caption, split, max_gib),
    )


def open_buckets(
    path: str | Path,
    *,
    size: int = 64,
    multiple: int = 8,
    least: int = 1,
    channels: int | None = None,
    background: str = "white",
    image: str | None = None,
    label: str | None = None,
    caption: str | None = None,
    split: str | None = None,
    max_gib: float = 8.0,
) -> tuple[Dataset, ...]:
    """Pictures in several sizes of about the same area, one data set per size, from tall to wide.

    A picture goes to the size closest to its own aspect ratio, so little is cropped and nothing is
    distorted.

    size: side of the square; all sizes have about its area, and an aspect ratio from 1:2 to 2:1
    multiple: divides every side, such as an autoencoder's factor times a network's patch
    least: pictures that a size needs, such as a batch; smaller groups go to the next size
    others: as in `open_data`

    `train.buckets.over_buckets` trains on them. ValueError as in `open_data`, and for arrays, whose
    pictures have a single size.
    """
    options = DataOptions(
        channels=channels,
        background=background,
        image=image,
        label=label,
        caption=caption,
        split=split,
        max_gib=max_gib,
        buckets=Buckets(size, multiple, least),
    )
    whole = _open(path, options)
    assert isinstance(whole.store, Parts)
    return tuple(
        replace(whole.subset(range(first, first + count)), shape=shape)
        for first, count, shape in whole.store.spans()
    )


def _open(path: str | Path, options: DataOptions) -> Dataset:
    if isinstance(path, str) and path in EMBEDDED:  # ./digits is a folder of that name
        options.only_pictures(path)
        return open_digits(options)
    if not str(path):
        raise ValueError("the path of the data is empty; use . for the current folder")
    if "\0" in str(path):
        raise ValueError("the path of the data has a NUL character, which no file name has")
    path = must_exist(path)
    _refuse_run(path)
    opener, path = _opener(path)
    if opener is not open_array:
        options.only_pictures(path.name)
    return opener(path, options)


def _refuse_run(path: Path) -> None:
    """ValueError for a run, whose previews would pass for pictures."""
    if not path.is_dir() or not is_run([entry.name for entry in path.iterdir()]):
        return
    try:
        source = read_json(path / "run.json").get("source", {}).get("path")
    except ValueError:
        source = None
    data, out = shlex.quote(str(source or "DATA")), shlex.quote(str(path))
    raise ValueError(
        f"{path} is a run, which training writes, and not data; to go on with it, name its data and"
        f" the same options as before: inkdrop train {data} --out {out}"
    )


def _opener(path: Path) -> tuple[Opener, Path]:
    """The opener for a path, and the path itself or the only data file in that folder."""
    if path.is_dir():
        return _folder_opener(path)
    if path.suffix.lower() in _BY_SUFFIX:
        return _BY_SUFFIX[path.suffix.lower()], path
    if is_idx(path.name):
        return open_idx, path
    if is_picture(path.name) or is_table(path.name):
        kind = "single picture" if is_picture(path.name) else "table without pictures"
        raise ValueError(f"{path} is a {kind}; give the folder with all of them")
    if _PACKED & {suffix.lower() for suffix in path.suffixes}:
        raise ValueError(
            f"{path} is an archive of a kind that is not read in place; unpack it and give the"
            " folder, or make a .zip of it"
        )
    raise ValueError(
        f"{path} cannot be read as data; give a folder of pictures, a {', '.join(_BY_SUFFIX)} file"
        " or IDX files (such as train-images-idx3-ubyte.gz)"
    )


def _folder_opener(path: Path) -> tuple[Opener, Path]:
    """The opener for a folder: of IDX files, pictures, Parquet files, or with one data file."""
    if find_idx(path):
        return open_idx, path
    files = [name for name in list_files(path) if visible(name)]
    if any(map(is_picture, files)):
        return open_folder, path
    tables = [path / name for name in files if name.lower().endswith(".parquet")]
    found = [path / name for name in files if "/" not in name and "label" not in name]
    found = sorted(f for f in found if f.suffix.lower() in _BY_SUFFIX and f not in tables)
    if tables and not found:
        name = as_utf8(path.resolve().name)
        return lambda _, options: open_shards(tables, options, name), path
    found += tables
    if len(found) > 1:
        names = ", ".join(file.name for file in found)
        raise ValueError(f"{path} has no pictures but several data files; give one of {names}")
    if found:
        return _BY_SUFFIX[found[0].suffix.lower()], found[0]
    return open_folder, path  # its error lists the formats that it looked for
