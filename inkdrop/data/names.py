"""Names of files and classes: their order, and how they are spelled."""

from __future__ import annotations

import re
import unicodedata

_DIGITS = re.compile(r"([0-9]+)")


def natural(name: str) -> tuple[tuple[str | tuple[int, str], ...], str]:
    """A key to sort names as people count: 2 before 10, a9 before a10.

    Names that differ only in leading zeros are ordered by their characters, so that an order
    depends on nothing but the names. Numbers may have any length.
    """
    parts = _DIGITS.split(name)  # text and digits alternate, so parts of one kind are compared
    numbers = (digits.lstrip("0") for digits in parts[1::2])
    counted = [(len(digits), digits) for digits in numbers]
    key: list[str | tuple[int, str]] = [*parts]
    key[1::2] = counted
    return tuple(key), name


def composed(name: str) -> str:
    """The name in Unicode's composed form (NFC): one spelling for names that look the same.

    macOS writes file names decomposed, editors and keyboards write them composed.
    """
    return unicodedata.normalize("NFC", name)


def as_utf8(name: str) -> str:
    """A file name with the bytes that are not UTF-8 written out: caf\\xe9.png."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
