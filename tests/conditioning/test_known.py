"""What a model has read: words in several scripts, names kept in its folder, and the nearest."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkdrop.conditioning.known import FILE, LONGEST_NAME, Known, words_of

CAPTIONS = ["a red car", "a red car", "a blue boat", "the house by the sea", "웃는 고양이 🐱"]


def known() -> Known:
    return Known.of(CAPTIONS)


def test_words_of_several_scripts() -> None:
    for text, words in {
        "The red-brown CAR, it's a 2nd": ["red", "brown", "car", "it", "s", "2nd"],
        "웃는 고양이를": ["웃는", "고양이를"],
        "白い猫 cat2": ["白", "い", "猫", "cat2"],
        "🐱🐶️ x": ["🐱", "🐶", "x"],
        "ＣＡＲ café": ["car", "café"],
        "(__) --": [],
    }.items():
        assert words_of(text) == words


def test_what_was_never_read() -> None:
    assert known().strange("a GREEN car and a red plane, green") == ["green", "and", "plane"]
    assert known().strange("웃는 고양이 🐱 red Boat") == []
    assert known().has_any("a red plane") and not known().has_any("by the plane")


def test_what_was_read_together() -> None:
    for text, together in {
        "a red car": True, "car": True, "house at sea": True, "a blue car": False,
        "고양이 car": False, "": True,
    }.items():  # fmt: skip
        assert known().together(text) == together
    some = Known.of(["long " * LONGEST_NAME, "a red car"])
    assert not some.whole and list(some.names) == ["a red car"] and some.strange("long") == []
    assert some.together("long red")  # which cannot be told


def test_the_nearest_names() -> None:
    assert known().nearest("a blue car") == ["a blue boat", "a red car"]
    assert known().nearest("a cra and a caar") == ["a red car"]  # misspelt
    assert known().nearest("a lighthouse") == ["the house by the sea"]  # a part of it
    assert known().nearest("xyzzy") == []
    assert known().nearest("red car red boat", count=1) == ["a red car"]


@given(st.lists(st.text(max_size=12), max_size=6))
def test_a_folder_keeps_it(tmp_path_factory: pytest.TempPathFactory, captions: list[str]) -> None:
    folder = tmp_path_factory.mktemp("known")
    made = Known.of(captions)
    made.write(folder)
    again = Known.read(folder)
    assert again is not None and again == made
    assert all(not again.strange(text) for text in captions)


def test_names_are_the_captions_the_most_frequent_first(tmp_path: Path) -> None:
    assert next(iter(known().names)) == "a red car" and len(known().names) == 4 and known().whole
    assert known().lines()[0] == "words it has read: 10"
    assert known().lines()[1].startswith("names it learned: a red car, ")
    assert Known.read(tmp_path) is None
    for broken in (b"", b"names\n", b"\xff\n"):
        (tmp_path / FILE).write_bytes(broken)
        with pytest.raises(ValueError, match=r"captions\.tsv does not begin with one of"):
            Known.read(tmp_path)


def test_of_very_many_names_a_few_are_listed() -> None:
    many = Known.of(f"thing {i}" for i in range(1_700))
    _, line = many.lines()
    assert line.count(", ") == 99 and line.endswith(" and 1,600 more in captions.tsv")
