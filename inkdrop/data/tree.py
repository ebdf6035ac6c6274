"""A tree of files, in a folder or an archive: pictures, classes by subfolder, and captions."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from inkdrop.config import nearest
from inkdrop.data.captions import is_words, side_files, tree_captions
from inkdrop.data.columns import LABELS, pick, unread
from inkdrop.data.dataset import Dataset
from inkdrop.data.labels import classes
from inkdrop.data.layouts import masks_of, repeats, told_masks, words_of_names
from inkdrop.data.metadata import Row, is_labels, is_table, metadata_texts, read_metadata
from inkdrop.data.names import natural
from inkdrop.data.options import DataOptions
from inkdrop.data.parts import PARTS
from inkdrop.data.pictures.prepare import listed, prepare, share
from inkdrop.data.pictures.stored import EncodedPicture
from inkdrop.digest import digest
from inkdrop.media.image import SUFFIXES


@dataclass(frozen=True)
class Tree:
    """Files by relative name, with / between folders; load: a file's path or bytes by its name.

    where: the tree's name in messages; notes: on entries that are not among the names
    """

    where: str
    names: Sequence[str]
    load: Callable[[str], Path | bytes]
    notes: tuple[str, ...] = ()

    def text(self, name: str, most: int = 1 << 28) -> str:
        """The text of a file of at most `most` bytes; ValueError if it cannot be read as UTF-8."""
        source = self.load(name)
        try:
            size = len(source) if isinstance(source, bytes) else source.stat().st_size
            if size > most:
                raise ValueError(
                    f"{name} in {self.where} has {size:,} bytes, but may have at most {most:,};"
                    " shorten or remove it"
                )
            data = source if isinstance(source, bytes) else source.read_bytes()
            return data.decode("utf-8-sig")
        except OSError as error:
            raise ValueError(
                f"{name} in {self.where} cannot be read: {error.strerror}; remove or replace it"
            ) from None
        except UnicodeDecodeError as error:
            raise ValueError(
                f"{name} in {self.where} is not UTF-8 text ({error}); save it as UTF-8"
            ) from None

    def caption(self, name: str) -> str:
        """The text of a file with one caption."""
        return self.text(name, 1 << 20)


def is_picture(name: str) -> bool:
    """True if the suffix is a picture's."""
    return PurePosixPath(name).suffix.lower() in SUFFIXES


def visible(name: str) -> bool:
    """False for hidden files and folders, and for those that macOS adds to archives."""
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.split("/"))


def open_tree(tree: Tree, options: DataOptions) -> Dataset:
    """All pictures of a tree, sorted naturally by name: 2.png before 10.png.

    Labels: a column of metadata.jsonl or metadata.csv (`columns.LABELS`, or options.label), else
    those of a dataset.json (`metadata.label_list`), else the subfolder, if all pictures are in one
    of several (subfolders such as train, val and test are splits, not classes; options.split
    selects one). Captions: a column of the metadata (`columns.CAPTIONS`), else a .txt or .caption
    file beside the picture; options.caption gives another column, or a suffix such as ".txt".
    ValueError if there are no usable pictures.
    """
    files = sorted((name for name in dict.fromkeys(tree.names) if visible(name)), key=natural)
    pictures = [name for name in files if is_picture(name)]
    masks = masks_of(pictures)
    pictures = [name for name in pictures if name not in masks]
    if not pictures:
        raise ValueError(_nothing(tree.where, files))
    everything = set(pictures)
    texts = metadata_texts(files, tree.text)
    if not texts:
        options.refuse(f"{tree.where} without a metadata.jsonl or metadata.csv", "image", "label")
    about, named = read_metadata(texts, everything, tree.where, options.image)
    sides = side_files(pictures, set(files), options.caption)
    root = _root(pictures)
    pictures, parts, notes = _split(pictures, root, options.split, tree.where)
    loads = [EncodedPicture(name, _loader(tree, name)) for name in pictures]
    ready = prepare(loads, options, tree.where)
    kept = [pictures[i] for i in ready.kept]
    depth = None if any(map(is_labels, texts)) else root + parts  # its folders are no classes
    values, label, why = _labels(kept, about, depth, options.label, tree.where)
    labels, names = (None, ()) if values is None else classes(values, tree.where)
    captions, told = tree_captions(kept, about, sides, tree.caption, options.caption, tree.where)
    rest = _unread(about, {*named, *told, label}, captions.first is not None)
    if labels is None and captions.first is None:
        why += words_of_names(kept)
    return Dataset(
        name=tree.where,
        shape=ready.shape,
        store=ready.store,
        count=len(kept),
        fingerprint=digest([ready.fingerprint, values, captions.several or captions.first]),
        labels=labels,
        label_names=names,
        captions=captions.first,
        several=captions.several,
        survey=ready.survey,
        names=kept,
        notes=(
            *notes, *ready.notes, *why, *captions.notes, *rest, *tree.notes,
            *told_masks(masks, names), *_ignored(files, {*everything, *texts, *masks}, sides),
        ),
    )  # fmt: skip


def _unread(about: Mapping[str, Row], used: Collection[str | None], captioned: bool) -> list[str]:
    """Notes on columns of the metadata that are not read."""
    columns = list(dict.fromkeys(column for row in about.values() for column in row))
    texts = {column for row in about.values() for column, value in row.items() if is_words(value)}
    return unread(columns, used, texts, captioned)


def _loader(tree: Tree, name: str) -> Callable[[], Path | bytes]:
    return lambda: tree.load(name)


def _nothing(where: str, files: Sequence[str]) -> str:
    sought = ", ".join(SUFFIXES)
    found = f"{len(files)} other files ({listed(files, 3)})" if files else "no files at all"
    return (
        f"{where} has no pictures: searched it and its subfolders for {sought}, found {found};"
        " convert pictures of another format to PNG or JPEG, and arrays with numpy.savez"
    )


def _root(pictures: Sequence[str]) -> int:
    """The number of leading folders that all pictures share."""
    folders = [name.split("/")[:-1] for name in pictures]
    first, last = min(folders), max(folders)
    shared = [a == b for a, b in zip(first, last, strict=False)]
    return shared.index(False) if False in shared else len(shared)


def _split(
    pictures: list[str], root: int, split: str | None, where: str
) -> tuple[list[str], int, list[str]]:
    """The pictures of one split, how many folder levels are splits (0 or 1), and notes."""
    tops = [name.split("/")[root] for name in pictures]
    parts = sorted(
        {top for top, name in zip(tops, pictures, strict=True) if not name.endswith(top)}
    )
    if split is not None:
        if split not in parts:
            raise ValueError(
                f"{where} has no subfolder {split!r} for split={split!r}; it has"
                f" {', '.join(parts) or 'none'}.{nearest(split, parts)}"
            )
        return [n for n, top in zip(pictures, tops, strict=True) if top == split], 1, []
    if len(parts) > 1 and {part.lower() for part in parts} <= {*PARTS}:
        shown = ", ".join(parts)
        note = f"the splits {shown} are used together; split={parts[0]!r} selects one"
        return pictures, 1, [note]
    return pictures, 0, []


def _labels(
    pictures: Sequence[str],
    about: Mapping[str, Row],
    depth: int | None,
    asked: str | None,
    where: str,
) -> tuple[list[object] | None, str | None, list[str]]:
    """A label for each picture, or None; the metadata column that they are from; and notes.

    depth: the level of the folders that are classes, if any are
    """
    columns = list(dict.fromkeys(column for row in about.values() for column in row))
    column = pick(columns, asked, LABELS, where, "label")
    told = [about.get(name, {}).get(column) for name in pictures] if column else []
    sound = all(isinstance(label, (int, str)) for label in told)
    if asked is None and column != "label" and not sound:
        told = []  # another usual name, such as category, may hold anything
    if any(label is not None for label in told):
        if None in told:
            raise ValueError(
                f"{where}: the metadata has labels in {column}, but none for"
                f" {pictures[told.index(None)]}; label all pictures or none, or choose another"
                " column with --label (label=...)"
            )
        return told, column, []
    if asked is not None:
        raise ValueError(f"{where} has no label in the column {asked!r}; leave out label={asked!r}")
    found, notes = (None, []) if depth is None else _folders(pictures, depth)
    return found, None, notes


def _folders(pictures: Sequence[str], depth: int) -> tuple[list[object] | None, list[str]]:
    """The subfolder of each picture, or None unless all are in one of several; and notes."""
    folders = [name.split("/")[depth:-1] for name in pictures]
    if not any(folders):
        return None, []
    if not all(folders):
        loose = sum(not folder for folder in folders)
        text = (
            f"{share(loose, len(folders))} outside subfolders, so subfolders are not used as labels"
        )
        return None, [text]
    firsts = [folder[0] for folder in folders]
    return (list(firsts), repeats(firsts)) if len(set(firsts)) > 1 else (None, [])


def _ignored(files: Sequence[str], known: Collection[str], sides: Mapping[str, str]) -> list[str]:
    """Notes on captions without a picture, and on files that are neither.

    known: pictures and metadata
    """
    beside = set(sides.values())
    suffixes = {PurePosixPath(name).suffix.lower() for name in beside}
    other = [f for f in files if f not in known and f not in beside]
    lost = [name for name in other if PurePosixPath(name).suffix.lower() in suffixes]
    tables = [name for name in other if is_table(name)]
    other = [name for name in other if name not in {*lost, *tables}]
    notes = []
    if tables:
        which = "1 table is" if len(tables) == 1 else f"{len(tables):,} tables are"
        notes.append(
            f"{which} not read: {listed(tables)}; call one metadata.csv or metadata.jsonl, with a"
            " column file_name, for its captions and labels"
        )
    if lost:
        kind = f"{' or '.join(sorted(suffixes))} file"
        start = share(len(lost), len(lost) + len(beside), kind)
        notes.append(f"{start} ignored for lack of a picture of the same name: {listed(lost)}")
    if other:
        start = share(len(other), len(files), "file")
        notes.append(f"{start} ignored (not a known picture format): {listed(other, 3)}")
    return notes
