"""Settings carried inside a picture: two texts by name.

`inkdrop` is all settings as ASCII JSON, in which any text survives; `parameters` is the text that
other programs read (`media/parameters.py`). A PNG has them in text chunks (PNG, third edition,
section 11.3.3), a JPEG and a WebP in EXIF data (`media/exif.py`).
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from inkdrop.files import must_exist
from inkdrop.media.exif import exif_texts, to_exif
from inkdrop.media.graphs import json_object
from inkdrop.media.medium import array_settings
from inkdrop.media.objects import FOREIGN
from inkdrop.media.parameters import from_parameters, to_parameters
from inkdrop.printable import printable

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

VERSION = 1  # of the JSON
MAX_TEXT = 1 << 22  # bytes of text in a chunk; Pillow refuses to open over 64 MiB in all
CARRIERS = ("PNG", "JPEG", "WEBP")  # the formats that can hold settings, by Pillow's names

_OWN, _FOREIGN = "inkdrop", "parameters"
_KEYWORD = 80  # bytes: the longest keyword of a chunk, and the byte behind it
_SIGNATURE = b"\x89PNG\r\n\x1a\n"


def carried(
    kind: str, settings: Mapping[str, Any] | None, width: int, height: int
) -> dict[str, Any]:
    """What Pillow's writer of one of CARRIERS takes to put settings into a picture of this size.

    ValueError for a value that JSON cannot hold (a tensor, NaN), or for a text that is too long.
    """
    if settings is None:
        return {}
    texts = _written(settings, width, height)
    return {"pnginfo": _chunks(texts)} if kind == "PNG" else {"exif": to_exif(texts, kind)}


def _written(settings: Mapping[str, Any], width: int, height: int) -> dict[str, str]:
    """Both texts by their names."""
    for name, value in settings.items():
        _check(name, value)
    return {
        _OWN: json.dumps({"version": VERSION, "settings": dict(settings)}),
        _FOREIGN: to_parameters(settings, width, height),
    }


def _chunks(texts: Mapping[str, str]) -> PngInfo:
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for keyword, text in texts.items():
        if len(text.encode()) > MAX_TEXT:
            raise ValueError(
                f"the settings take {len(text.encode())} bytes of text, but at most {MAX_TEXT} fit"
                " into a PNG; shorten the prompt"
            )
        chunks.add_text(keyword, text)  # tEXt, or iTXt if it is not Latin-1
    return chunks


def read_settings(path: str | Path) -> dict[str, Any]:
    """The settings in a picture: those written by `save_image`, or else those of A1111's text.

    Tuples come back as lists, because JSON has only lists. A1111's text gives prompt, negative,
    steps, sampler, guidance, seed, width, height and model where present; its other fields keep
    their names and stay text, and "program" says who wrote them. ComfyUI's are read as `graphs.py`
    says, InvokeAI's, Fooocus's and SwarmUI's as `objects.py` does. No pixels are decoded.

    ValueError, one sentence that names the file: it is missing, of a format that holds none,
    truncated or corrupt, or it has no settings, broken JSON, or settings of a newer version.
    """
    path = must_exist(path, "picture")
    try:
        with path.open("rb") as file:
            start = file.read(12)
            file.seek(0)
            exif = start[:3] == b"\xff\xd8\xff" or (start[:4], start[8:]) == (b"RIFF", b"WEBP")
            texts = exif_texts(path) if exif else dict(_texts(file, path))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    if _OWN in texts:
        return _own(texts[_OWN], path)
    for keyword, reads in FOREIGN.items():
        for read in reads if keyword in texts else ():
            if (told := read(texts[keyword])) is not None:
                return told
        if keyword == _FOREIGN and keyword in texts:
            return _of_text(texts[keyword], path)
    raise ValueError(
        f"{path} holds no settings; use the picture as it was saved, because converting or editing"
        " it can remove them"
    )


def _of_text(text: str, path: Path) -> dict[str, Any]:
    """The settings in A1111's text. ValueError for an object in its place, which is no prompt."""
    if json_object(text) is not None:
        raise ValueError(
            f"{path} holds settings of a program whose JSON is not read here; look into its text"
            f" {_FOREIGN!r}, and give the prompt and the options yourself"
        )
    found = from_parameters(text)
    own = str(found.get("Version", "")).startswith("inkdrop")
    return found | ({} if own else {"program": "another program"})


def settings_in(path: Path) -> dict[str, Any]:
    """The settings inside a picture or an .npz of samples; ValueError if there are none."""
    suffix = path.suffix.lower()
    must_exist(path, "array" if suffix in (".npy", ".npz") else "picture")
    if suffix == ".npz":
        return array_settings(path)
    if path.is_file() and suffix == ".npy":
        raise ValueError(f"{path} carries no settings: they are in a picture or an .npz")
    return read_settings(path)


def settings_lines(settings: Mapping[str, Any]) -> list[str]:
    """One line per setting that is set, for people; control characters are escaped."""
    kept = {name: value for name, value in settings.items() if value not in (None, "", [], {})}
    return [
        printable(f"{name}: {_said(value, 'x' if name == 'size' else ', ')}")
        for name, value in kept.items()
        if value is not False
    ]


def _said(value: Any, between: str = ", ") -> str:
    if isinstance(value, list):
        return between.join(map(_said, value))
    if not isinstance(value, dict):
        return str(value)
    if not {"path", "sha256"} <= value.keys():
        return ", ".join(f"{name} {_said(each)}" for name, each in value.items())
    weight = value.get("weight", 1.0)
    times = "" if weight == 1.0 else f", weight {weight}"
    word = f", word {value['word']}" if value.get("word") else ""
    return f"{value['path']} (sha256 {value['sha256']}{times}{word})"


def _check(name: object, value: object) -> None:
    if not isinstance(name, str):
        raise ValueError(f"the name of a setting must be text, not {name!r}")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"the setting {name!r} cannot be written as JSON: {error}") from None


def _own(text: str, path: Path) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path} holds settings in broken JSON ({error}); save it again") from None
    version = data.get("version") if isinstance(data, dict) else None
    if type(version) is int and version > VERSION:
        raise ValueError(
            f"{path} holds settings of version {version}, but this inkdrop reads versions up to"
            f" {VERSION}; update inkdrop"
        )
    settings = data.get("settings") if version == VERSION else None
    if not isinstance(settings, dict):
        raise ValueError(f"{path} holds settings that are not in the form inkdrop writes")
    return settings


def _texts(file: BinaryIO, path: Path) -> Iterator[tuple[str, str]]:
    """Keyword and text of every chunk that may hold settings, up to IEND."""
    if file.read(len(_SIGNATURE)) != _SIGNATURE:
        raise ValueError(f"{path} is no PNG, JPEG or WebP, and only these carry settings")
    left = os.fstat(file.fileno()).st_size - len(_SIGNATURE)
    while left >= 12:
        length, kind = struct.unpack(">I4s", file.read(8))
        left -= length + 12
        if left < 0:
            break
        if kind == b"IEND":
            return
        if kind not in (b"tEXt", b"zTXt", b"iTXt"):
            file.seek(length + 4, os.SEEK_CUR)
            continue
        body = file.read(min(length, _KEYWORD))
        keyword = body.split(b"\0", 1)[0].decode("latin-1")
        if keyword not in (_OWN, *FOREIGN):  # others may be long, and are not read
            file.seek(length - len(body) + 4, os.SEEK_CUR)
        elif length > MAX_TEXT + _KEYWORD:
            raise ValueError(
                f"{path} holds settings of over {MAX_TEXT} bytes; that is no picture's"
            )
        else:
            body, check = body + file.read(length - len(body)), file.read(4)
            if zlib.crc32(kind + body) != int.from_bytes(check, "big"):
                raise ValueError(f"{path} is corrupt: its chunk {keyword!r} has a wrong checksum")
            yield keyword, _text(kind, body, f"{path} is corrupt: its chunk {keyword!r}")
    raise ValueError(f"{path} is truncated: it ends before the end of the picture")


def _text(kind: bytes, body: bytes, corrupt: str) -> str:
    """The text of one chunk; see sections 11.3.3.2 to 11.3.3.4."""
    encoding, packed = "latin-1", kind == b"zTXt"
    try:
        rest = body.split(b"\0", 1)[1]
        if kind == b"zTXt":
            rest = rest[1:]  # the compression method; only one is defined
        elif kind == b"iTXt":
            encoding, packed = "utf-8", rest[0] == 1
            rest = rest[2:].split(b"\0", 2)[2]  # skip the language and the translated keyword
        return (_inflate(rest) if packed else rest).decode(encoding)
    except (IndexError, zlib.error, UnicodeDecodeError) as error:
        raise ValueError(f"{corrupt} cannot be read: {error}") from None


def _inflate(data: bytes) -> bytes:
    inflater = zlib.decompressobj()
    text = inflater.decompress(data, MAX_TEXT)  # a small chunk may claim to hold gigabytes
    if not inflater.eof:
        raise zlib.error(f"its compressed text is cut off or longer than {MAX_TEXT} bytes")
    return text
