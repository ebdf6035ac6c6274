"""Text of strangers: what acts on a terminal is written as an escape, all else stays as it is."""

from __future__ import annotations

import pytest

from inkdrop.printable import printable

KEPT = (
    "[red]cat[/red] :smile: {x} %s \\n $x_1$",
    "고양이 日本　語 ÄÖÜ ñ",
    "👨‍👩‍👧 ❤️ 🏴󠁧󠁢󠁥󠁮󠁧󠁿",  # joined emoji, a presentation selector, a flag of tags
    "می‌خواهم",  # a zero-width non-joiner, which Persian needs
)
ESCAPED = {
    "\x1b[31mred": r"\x1b[31mred",  # CSI in seven bits
    "\x9b31m": r"\x9b31m",  # and as one C1 control
    "\x1b]0;title\x07": r"\x1b]0;title\x07",  # OSC: a window's title
    "\x1bPq": r"\x1bPq",  # DCS
    "a\nb\rc\td\x08e\x7f\0": r"a\nb\rc\td\x08e\x7f\x00",
    "a\u2028b\u2029c\x85d": r"a\u2028b\u2029c\x85d",
    "abc\u202edcba\u2066": r"abc\u202edcba\u2066",
    "caf\udce9": r"caf\udce9",  # a byte of a file name that is not UTF-8
}


@pytest.mark.parametrize("text", KEPT)
def test_text_stays(text: str) -> None:
    assert printable(text) == text


@pytest.mark.parametrize("text", ESCAPED)
def test_what_acts_is_escaped(text: str) -> None:
    assert printable(text) == ESCAPED[text]


def test_of_all_characters_only_those_that_act_change() -> None:
    """Every change leaves plain ASCII; every control of Unicode, and every surrogate, changes."""
    changed = {c for c in map(chr, range(0x110000)) if printable(c) != c}
    assert all(printable(c).isascii() and printable(c).startswith("\\") for c in changed)
    assert changed >= {chr(n) for n in (*range(32), *range(127, 160), *range(0xD800, 0xE000))}
    assert len(changed) == 65 + 2048 + 2 + 12  # controls, surrogates, separators, directions


def test_anything_that_has_a_text() -> None:
    assert printable(ValueError("a\x1bb")) == r"a\x1bb"
