"""Captions by themselves: which are missing, which are empty, whose file is whose."""

from __future__ import annotations

import pytest

from inkdrop.data import captions
from inkdrop.data.captions import Captions, complete, side_files, texts_of


def test_none_at_all_is_none_and_not_a_row_of_empty_ones() -> None:
    assert complete([None, None], "ab") == Captions()
    assert complete([("",), None], "ab") == Captions(
        ("", ""),
        notes=(
            "1 of 2 pictures is without a caption; an empty one is used: b",
            "1 of 2 captions is empty: a",
        ),
    )


def test_several_captions_are_kept_beside_the_first() -> None:
    found = complete([("x", "y"), ("z",), None], "abc")
    assert found.first == ("x", "z", "") and found.several == (("x", "y"), ("z",), ("",))
    assert found.notes[-1] == "pictures have up to 2 captions; training draws one of them each time"


@pytest.mark.parametrize(
    ("cell", "texts"),
    [
        (None, None),
        ("a", ("a",)),
        ("", ("",)),
        (["a", None, " ", "b"], ("a", "b")),
        ([], None),
        ([None], None),
        ([" ", ""], (" ",)),
        (7, ("7",)),
        (b"caf\xc3\xa9", ("caf\u00e9",)),
        ("\ud83d\ude00 \ud800", ("\U0001f600 \ufffd",)),  # JSON can hold half of a pair
    ],
)
def test_the_captions_in_a_cell(cell: object, texts: tuple[str, ...] | None) -> None:
    assert texts_of(cell, "x") == texts


@pytest.mark.parametrize("cell", [{"en": "a"}, [["a", "b"]], [["a"]], [{"raw": "a"}]])
def test_a_cell_without_texts_is_refused(cell: object) -> None:
    with pytest.raises(ValueError, match=r"^x must be a text or a list of texts, not "):
        texts_of(cell, "x")


def test_more_text_than_any_data_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(captions, "MAX_TEXT", 5)
    assert complete([("abc",), ("de",)], "ab", "photos").first == ("abc", "de")
    with pytest.raises(ValueError, match="captions of photos have more than 5 characters"):
        complete([("abc",), ("d", "ef")], "ab", "photos")


def test_the_file_beside_has_the_whole_stem() -> None:
    files = {"x/a.b.txt", "x/a.txt", "a.b.caption", "c.txt", "c.caption"}
    names = ["x/a.b.png", "a.b.png", "c.jpg", "d.png"]
    found = {"x/a.b.png": "x/a.b.txt", "a.b.png": "a.b.caption", "c.jpg": "c.txt"}
    assert side_files(names, files, None) == found
    found = {"a.b.png": "a.b.caption", "c.jpg": "c.caption"}
    assert side_files(names, files, ".caption") == found
    assert side_files(names, files, "text") == {}


def test_suffixes_in_any_capitals_and_either_spelling_of_unicode() -> None:
    files = {"a.TXT", "b.txt", "b.TXT", "caf\u00e9.Caption"}
    names = ["a.png", "b.png", "cafe\u0301.png"]
    found = {"a.png": "a.TXT", "b.png": "b.txt", "cafe\u0301.png": "caf\u00e9.Caption"}
    assert side_files(names, files, None) == found
    assert side_files(names, files, ".Txt") == {n: found[n] for n in names[:2]}
