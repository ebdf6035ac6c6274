"""Captions by themselves: which are missing, which are empty, whose file is whose."""

from __future__ import annotations

from inkdrop.data.captions import complete, side_files


def test_none_at_all_is_none_and_not_a_row_of_empty_ones() -> None:
    assert complete([None, None], "ab") == (None, [])
    assert complete(["", None], "ab") == (
        ("", ""),
        [
            "1 of 2 pictures is without a caption; an empty one is used: b",
            "1 of 2 captions is empty: a",
        ],
    )


def test_the_file_beside_has_the_whole_stem() -> None:
    files = {"x/a.b.txt", "x/a.txt", "a.b.caption", "c.txt", "c.caption"}
    names = ["x/a.b.png", "a.b.png", "c.jpg", "d.png"]
    found = {"x/a.b.png": "x/a.b.txt", "a.b.png": "a.b.caption", "c.jpg": "c.txt"}
    assert side_files(names, files, None) == found
    found = {"a.b.png": "a.b.caption", "c.jpg": "c.caption"}
    assert side_files(names, files, ".caption") == found
    assert side_files(names, files, "text") == {}
