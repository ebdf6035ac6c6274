"""A tree of files, in a folder or an archive: pictures, classes by sub-folder, and captions."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from inkdrop.config import nearest
from inkdrop.data.dataset import Dataset
from inkdrop.data.labels import classes
from inkdrop.data.options import Options
from inkdrop.data.pictures import Encoded, prepare, share
from inkdrop.digest import digest
from inkdrop.media.image import FORMATS

_METADATA = "metadata.jsonl"
_PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}


@dataclass(frozen=True)
class Tree:
    """Files by relative name, with / between folders; `load` gets one's path or its bytes."""

    where: str
    names: Sequence[str]
    load: Callable[[str], Path | bytes]

    def text(self, name: str) -> str:
        """A text file; ValueError if it cannot be read as UTF-8."""
        source = self.load(name)
        try:
            data = source if isinstance(source, bytes) else source.read_bytes()
            return data.decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{name} in {self.where} is no UTF-8 text: {error}") from None


def is_picture(name: str) -> bool:
    """By its suffix, as files of a tree are chosen."""
    return PurePosixPath(name).suffix.lower() in FORMATS


def visible(name: str) -> bool:
    """False for hidden files and folders, and for what macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def open_tree(tree: Tree, options: Options) -> Dataset:
    """All pictures, in the order of their names.

    Labels: `label` of metadata.jsonl, or the sub-folder a picture is in, if all are in one of
    several (sub-folders called train, val or test are parts, not classes; `split` chooses one).
    Captions: `text` or `caption` of metadata.jsonl, or a .txt beside the picture.
    """
    options.refuse(tree.where, "image", "label", "caption")
    files = sorted(name for name in tree.names if visible(name))
    pictures = [name for name in files if is_picture(name)]
    if not pictures:
        raise ValueError(_nothing(tree.where, files))
    root = _root(pictures)
    pictures, parts, notes = _split(pictures, root, options.split, tree.where)
    about = _metadata(tree, files)
    loads = [Encoded(name, _loader(tree, name)) for name in pictures]
    ready = prepare(loads, options, tree.where)
    kept = [pictures[i] for i in ready.kept]
    values, why = _labels(kept, about, root + parts, tree.where)
    labels, names = (None, ()) if values is None else classes(values, tree.where)
    captions, missing = _captions(tree, kept, about, set(files))
    return Dataset(
        name=tree.where,
        shape=ready.shape,
        store=ready.store,
        count=len(kept),
        fingerprint=digest([ready.fingerprint, values, captions]),
        labels=labels,
        label_names=names,
        captions=captions,
        notes=(*notes, *ready.notes, *why, *missing, *_ignored(files, captions is not None)),
    )


def _loader(tree: Tree, name: str) -> Callable[[], Path | bytes]:
    return lambda: tree.load(name)


def _nothing(where: str, files: Sequence[str]) -> str:
    sought = ", ".join(FORMATS)
    shown = ", ".join(files[:3]) + (", ..." if len(files) > 3 else "")
    found = f"{len(files)} other files ({shown})" if files else "no files at all"
    return (
        f"{where} holds no pictures: looked in it and its sub-folders for {sought}, found {found}"
    )


def _root(pictures: Sequence[str]) -> int:
    """How many leading folders all pictures share."""
    folders = [name.split("/")[:-1] for name in pictures]
    first, last = min(folders), max(folders)
    shared = [a == b for a, b in zip(first, last, strict=False)]
    return shared.index(False) if False in shared else len(shared)


def _split(
    pictures: list[str], root: int, split: str | None, where: str
) -> tuple[list[str], int, list[str]]:
    """The pictures of one part, how many folders name parts (0 or 1), and what to say of it."""
    tops = [name.split("/")[root] for name in pictures]
    parts = sorted(
        {top for top, name in zip(tops, pictures, strict=True) if not name.endswith(top)}
    )
    if split is not None:
        if split not in parts:
            raise ValueError(
                f"{where} has no sub-folder {split!r} for split={split!r}; it has"
                f" {', '.join(parts) or 'none'}.{nearest(split, parts)}"
            )
        return [n for n, top in zip(pictures, tops, strict=True) if top == split], 1, []
    if len(parts) > 1 and {part.lower() for part in parts} <= _PARTS:
        shown = ", ".join(parts)
        return pictures, 1, [f"the parts {shown} are used together; split={parts[0]!r} chooses one"]
    return pictures, 0, []


def _labels(
    pictures: Sequence[str], about: Mapping[str, dict[str, Any]], depth: int, where: str
) -> tuple[list[object] | None, list[str]]:
    """A label for each picture, or None, and what to say of it."""
    told = [about.get(name, {}).get("label") for name in pictures]
    if any(label is not None for label in told):
        if None in told:
            raise ValueError(
                f"{where}: {_METADATA} gives labels, but none to {pictures[told.index(None)]}"
            )
        return told, []
    folders = [name.split("/")[depth:-1] for name in pictures]
    if not any(folders):
        return None, []
    if not all(folders):
        loose = sum(not folder for folder in folders)
        text = (
            f"{share(loose, len(folders))} in no sub-folder, so sub-folders are not taken as labels"
        )
        return None, [text]
    firsts = [folder[0] for folder in folders]
    return (list(firsts), []) if len(set(firsts)) > 1 else (None, [])


def _metadata(tree: Tree, files: Sequence[str]) -> dict[str, dict[str, Any]]:
    """What every metadata.jsonl says, by the picture's name from the root of the tree."""
    known = set(files)
    about: dict[str, dict[str, Any]] = {}
    for file in files:
        if PurePosixPath(file).name != _METADATA:
            continue
        for number, line in enumerate(tree.text(file).splitlines(), 1):
            if line.strip():
                row = _row(line, f"{file} line {number} in {tree.where}")
                name = _normal(PurePosixPath(file).parent, row["file_name"])
                if name not in known:
                    hint = nearest(name, known)
                    raise ValueError(
                        f"{file} line {number} in {tree.where} names {row['file_name']!r},"
                        f" which is not there.{hint}"
                    )
                about[name] = row
    return about


def _row(line: str, where: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise ValueError(f"{where} is not JSON: {error}") from None
    if not isinstance(row, dict) or not isinstance(row.get("file_name"), str):
        raise ValueError(
            f'{where} must be an object with "file_name", such as '
            '{"file_name": "a.png", "text": "a red boat"}'
        )
    return row


def _normal(folder: PurePosixPath, name: str) -> str:
    parts = [*folder.parts, *(part for part in name.split("/") if part not in ("", "."))]
    return "/".join(parts)


def _captions(
    tree: Tree, pictures: Sequence[str], about: Mapping[str, dict[str, Any]], files: set[str]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """A caption for each picture, or None if there are none at all, and what to say of it."""
    captions = [_caption(tree, name, about.get(name, {}), files) for name in pictures]
    missing = sum(caption is None for caption in captions)
    if missing == len(captions):
        return None, []
    notes = [f"{share(missing, len(captions))} without a caption and given an empty one"]
    return tuple(caption or "" for caption in captions), notes if missing else []


def _caption(tree: Tree, name: str, row: Mapping[str, Any], files: set[str]) -> str | None:
    told = row.get("text", row.get("caption"))
    if told is not None:
        return str(told)
    beside = str(PurePosixPath(name).with_suffix(".txt"))
    return tree.text(beside).strip() if beside in files else None


def _ignored(files: Sequence[str], captions: bool) -> list[str]:
    """What to say of files that are neither pictures nor about them."""
    stems = {str(PurePosixPath(name).with_suffix(".txt")) for name in files if is_picture(name)}
    used = {name for name in files if is_picture(name) or PurePosixPath(name).name == _METADATA}
    if captions:
        used |= stems
    other = [name for name in files if name not in used]
    shown = ", ".join(other[:3]) + (", ..." if len(other) > 3 else "")
    return (
        [f"{share(len(other), len(files), 'file')} no picture and ignored: {shown}"]
        if other
        else []
    )
