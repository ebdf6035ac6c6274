"""What people are shown: text from files and users, made safe; commands; numbers of bytes."""

from __future__ import annotations

import shlex
import unicodedata

# Invisible characters that reorder or replace what stands beside them. Joiners are not among them:
# emoji and several scripts need those.
_REORDERING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_CONTROLS = frozenset({"Cc", "Cs", "Zl", "Zp"})  # controls, lone surrogates, line separators


def printable(text: object) -> str:
    """The text in one line, with its control characters written as escapes, such as \\x1b or \\n.

    What a terminal would act upon (escape sequences, line ends, text direction) becomes visible,
    and what no encoding can hold (parts of a file name that is not UTF-8) can be written.
    """
    return "".join(_escaped(c) if _acts(c) else c for c in str(text))


def shell(*words: object) -> str:
    """A command of inkdrop that a shell takes as it is printed, whatever is in its words."""
    return shlex.join(["inkdrop", *map(str, words)])


def size(count: int) -> str:
    """A number of bytes in MB or GB."""
    return f"{count / 1e9:,.2f} GB" if count >= 1e8 else f"{count / 1e6:,.1f} MB"


def _acts(character: str) -> bool:
    return character in _REORDERING or unicodedata.category(character) in _CONTROLS


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
