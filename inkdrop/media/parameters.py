"""A1111's `parameters`, the text from which picture programs read settings: written and read.

    a red boat                            the prompt, over any number of lines
    Negative prompt: blurry               omitted if empty
    Steps: 20, Sampler: dpmpp_2m, CFG scale: 4, Seed: 7, Size: 64x64, Model: boats, Version: ...

A value with a comma, a colon or a line break is quoted as in JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from inkdrop import __version__

_NEGATIVE = "Negative prompt:"
_JSON = json.JSONDecoder(strict=False)

# our name: their name, and the type of the value
_KEYS: dict[str, tuple[str, type[int] | type[float] | type[str]]] = {
    "steps": ("Steps", int),
    "sampler": ("Sampler", str),
    "guidance": ("CFG scale", float),
    "seed": ("Seed", int),
    "model": ("Model", str),
}
_OURS = {theirs: (ours, kind) for ours, (theirs, kind) in _KEYS.items()}
_KNOWN = {*_OURS, "Size", "Version"}


def to_parameters(settings: Mapping[str, Any], width: int, height: int) -> str:
    """The text for prompt, negative, steps, sampler, guidance, seed and model, without Nones.

    Size is `width` and `height` from the settings, else those of the picture, in pixels. Two things
    do not fit into a text chunk: NUL is dropped, and a lone surrogate becomes a question mark.
    """
    known = {ours: settings[ours] for ours in _KEYS if settings.get(ours) is not None}
    fields = {_KEYS[ours][0]: _shown(value) for ours, value in known.items()}
    size = f"{settings.get('width', width)}x{settings.get('height', height)}"
    model = {"Model": fields.pop("Model")} if "Model" in fields else {}
    fields |= {"Size": size} | model | {"Version": f"inkdrop {__version__}"}
    lines = [str(settings.get("prompt") or "")]
    if settings.get("negative") not in (None, ""):
        lines.append(f"{_NEGATIVE} {settings['negative']}")
    lines.append(", ".join(f"{name}: {_quoted(value)}" for name, value in fields.items()))
    text = "\n".join(lines).lstrip("\n").replace("\0", "")
    return text.encode("utf-8", "replace").decode("utf-8")


def from_parameters(text: str) -> dict[str, Any]:
    """The settings in such a text, by our names; width and height in pixels.

    "prompt" is always present. Fields that we do not know, and malformed numbers, stay text under
    their own name. The last line counts as fields if at least two of its names are known. A prompt
    that itself has a line starting with "Negative prompt:" is split there: the format cannot tell.
    """
    lines = text.rstrip().split("\n")
    fields = _fields(lines[-1])
    if len(_KNOWN & fields.keys()) < 2:
        fields = {}
    else:
        lines.pop()
    split = next((i for i, line in enumerate(lines) if line.startswith(_NEGATIVE)), len(lines))
    found: dict[str, Any] = {"prompt": "\n".join(lines[:split]).strip()}
    if split < len(lines):
        found["negative"] = "\n".join(lines[split:]).removeprefix(_NEGATIVE).strip()
    for name, value in fields.items():
        found |= _understood(name, value)
    return found


def _shown(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _quoted(value: str) -> str:
    plain = not any(mark in value for mark in ',:\n\r"') and value == value.strip()
    return value if plain else json.dumps(value, ensure_ascii=False)


def _fields(line: str) -> dict[str, str]:
    """The "name: value" pairs between commas; anything else is skipped."""
    fields, start = {}, 0
    while start < len(line):
        end = _comma(line, start)
        colon = line.find(":", start, end)
        if colon >= 0:
            fields[line[start:colon].strip()], end = _value(line, colon + 1, end)
        start = end + 1
    return fields


def _comma(line: str, start: int) -> int:
    """The position of the next comma, or the end of the line."""
    found = line.find(",", start)
    return found if found >= 0 else len(line)


def _value(line: str, start: int, end: int) -> tuple[str, int]:
    """The value at `start`, and the position of the comma after it (`end`, unless it is quoted)."""
    plain = line[start:end].strip()
    if not plain.startswith('"'):
        return plain, end
    try:
        text, stop = _JSON.raw_decode(line, line.index('"', start))
    except ValueError:  # an unpaired quotation mark
        return plain, end
    return text, _comma(line, stop)


def _understood(name: str, value: str) -> dict[str, Any]:
    size = re.fullmatch(r"(\d{1,9})x(\d{1,9})", value) if name == "Size" else None
    if size:
        return {"width": int(size[1]), "height": int(size[2])}
    ours, kind = _OURS.get(name, (name, str))
    try:
        return {ours: kind(value)}
    except ValueError:
        return {name: value}
