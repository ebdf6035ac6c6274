"""Columns of tables: the names by which pictures, labels and captions are found."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from inkdrop.config import nearest
from inkdrop.data.pictures.prepare import listed

# Usual names, the first that is there counts; case, "-" and spaces do not matter.
IMAGES = ("image", "img", "picture", "photo", "png", "jpg", "jpeg", "webp", "bytes", "image_bytes")
FILES = (
    "file_name", "filename", "file", "image", "image_file", "image_path", "img_path", "path",
    "file_path", "filepath",
)  # fmt: skip
LABELS = (
    "label", "labels", "class", "class_id", "category", "target", "y", "class_label", "category_id",
    "fine_label",
)  # fmt: skip
CAPTIONS = (
    "caption", "text", "prompt", "captions", "texts", "prompts", "description", "descriptions",
    "sentence", "sentences", "image_caption", "image_description", "en_text", "text_en",
    "en_caption", "caption_en", "alt_text", "txt",
)  # fmt: skip


def usual(columns: Sequence[str], known: Sequence[str]) -> list[str]:
    """The columns with a usual name, in the order of `known`."""
    names = {_plain(column): column for column in reversed(columns)}
    return [names[name] for name in known if name in names]


def pick(
    columns: Sequence[str], asked: str | None, known: Sequence[str], where: str, what: str
) -> str | None:
    """The requested column, else the first with a usual name, else None."""
    if asked is None:
        return next(iter(usual(columns, known)), None)
    if asked not in columns:
        raise ValueError(
            f"{where} has no column {asked!r} for {what}={asked!r}; it has"
            f" {', '.join(columns) or 'none'}.{nearest(asked, columns)}"
        )
    return asked


def unread(
    columns: Sequence[str],
    used: Collection[str | None],
    texts: Collection[str],
    captioned: bool,
    what: str = "column",
) -> list[str]:
    """Notes on the columns that are not read.

    texts: the columns that hold words; captioned: whether captions were found
    what: the word for a column
    """
    rest = [column for column in columns if column and column not in used]
    words = [column for column in rest if column in texts]
    if words and not captioned:
        first = words[0]
        others = f" (also {listed(words[1:], 5)})" if words[1:] else ""
        return [
            f"no captions are read; --caption {first!r} (caption={first!r}) takes them from the"
            f" {what} {first}{others}"
        ]
    if rest:
        one = len(rest) == 1
        start = f"the {what} {rest[0]} is" if one else f"the {what}s {listed(rest)} are"
        return [f"{start} not read; --caption, --label and --image choose {what}s"]
    return []


def _plain(name: str) -> str:
    return name.strip().casefold().replace("-", "_").replace(" ", "_")
