"""Settings carried in the EXIF data of a JPEG or a WebP, by the names of a PNG's text chunks.

`parameters` is the user comment, which other programs write and read. `inkdrop` is the maker's
note, the place of a program's own data, with a mark before it.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path

from inkdrop.media.image import MAX_PIXELS, opened_header

LARGEST = {"JPEG": 65_000, "WEBP": 1 << 24}  # bytes; EXIF data is one segment of a JPEG
MAX_FILE = 1 << 26  # bytes of a file that is searched for settings

_IFD, _COMMENT, _NOTE = 0x8769, 0x9286, 0x927C  # the EXIF tags (CIPA DC-008, tables 4 and 7)
_UNICODE, _ASCII, _MARK = b"UNICODE\0", b"ASCII\0\0\0", b"inkdrop\0"


def to_exif(texts: Mapping[str, str], kind: str) -> bytes:
    """The EXIF data with these texts, for a JPEG or WEBP; what other programs read may be left out.

    ValueError if it does not fit into the format even so.
    """
    data = _exif(texts)
    if len(data) > LARGEST[kind]:
        data = _exif({"inkdrop": texts["inkdrop"]})
    if len(data) > LARGEST[kind]:
        raise ValueError(
            f"the settings take {len(data)} bytes, but at most {LARGEST[kind]} fit into a {kind};"
            " use .png, or shorten the prompt"
        )
    return data


def _exif(texts: Mapping[str, str]) -> bytes:
    from PIL import Image

    exif = Image.Exif()
    tags = exif.get_ifd(_IFD)
    tags[_NOTE] = _MARK + texts["inkdrop"].encode("ascii")
    if "parameters" in texts:
        tags[_COMMENT] = _UNICODE + texts["parameters"].encode("utf-16-be", "replace")
    return exif.tobytes()


def exif_texts(path: Path) -> dict[str, str]:
    """The texts in a picture's EXIF data, by their names; ValueError if it cannot be opened."""
    if path.stat().st_size > MAX_FILE:
        raise ValueError(
            f"{path} has over {MAX_FILE >> 20} MiB, so it is not searched for settings; scale it"
            " down first"
        )
    quiet = warnings.catch_warnings(action="ignore")  # Pillow warns of broken EXIF data, too
    with quiet, opened_header(path, str(path), MAX_PIXELS) as picture:
        try:
            above = picture.getexif()
            tags = above.get_ifd(_IFD)
        except Exception:  # EXIF data is often broken; parsers of it raise anything
            return {}
    found, note, comment = dict[str, str](), tags.get(_NOTE), tags.get(_COMMENT)
    if isinstance(note, bytes) and note.startswith(_MARK):
        found["inkdrop"] = note.removeprefix(_MARK).decode("ascii", "replace")
    if isinstance(comment, bytes):
        found["parameters"] = _comment(comment)
    elif isinstance(plain := above.get(_COMMENT), str):  # where Fooocus writes it
        found["parameters"] = plain
    return found


def _comment(data: bytes) -> str:
    """The text of a user comment: its first 8 bytes name the encoding."""
    code, text = data[:8], data[8:]
    if code != _UNICODE:
        return (text if code == _ASCII else data).decode("utf-8", "replace").strip("\0")
    # UTF-16 in the byte order of whoever wrote it: most letters of settings are ASCII.
    order = "utf-16-le" if text[1::2].count(0) > text[::2].count(0) else "utf-16-be"
    return text.decode(order, "replace").strip("\0")
