"""Rows of metadata by themselves; folders and zips of them are in test_folder.py."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inkdrop.data.metadata import is_metadata, read_metadata


def test_names_are_relative_to_the_file_that_has_them() -> None:
    texts = {"metadata.csv": "file_name\nx/a.png", "x/metadata.jsonl": '{"file_name": "b.png"}'}
    assert all(map(is_metadata, texts)) and not is_metadata("my-metadata.csv")
    rows, named = read_metadata(texts, ["x/a.png", "x/b.png"], "photos")
    assert set(rows) == {"x/a.png", "x/b.png"} and named == {"file_name"}
    with pytest.raises(ValueError, match=r"^1 of 2 rows of metadata in photos .*: x/b.png\."):
        read_metadata(texts, ["x/a.png"], "photos")


@pytest.mark.parametrize(
    "told",
    [
        "x/a.b.png", "a.b.png", "a.b", "x/a.b", "./a.b.png", "x\\a.b.png",
        "/home/me/photos/x/a.b.png", "C:\\photos\\x\\a.b.png", "/old/x/a.b",
    ],
)  # fmt: skip
def test_a_picture_is_found_by_any_name_that_is_its_own(told: str) -> None:
    pictures = ["x/a.b.png", "a.b.c.png", "y/c.png", "y/c.jpg"]
    text = json.dumps({"file_name": told})
    rows, _ = read_metadata({"x/metadata.jsonl": text}, pictures, "photos")
    assert set(rows) == {"x/a.b.png"}


@pytest.mark.parametrize("told", ["y/c", "/y/c", "z/a.b.png", "../x/a.b.png", "/a.b", "b.png"])
def test_a_name_that_could_be_another_is_not_guessed(told: str) -> None:
    pictures = ["x/a.b.png", "y/c.png", "y/c.jpg", "x/b.jpg"]
    with pytest.raises(ValueError, match=r"1 of 1 rows of metadata .* no matching picture"):
        read_metadata({"metadata.jsonl": json.dumps({"file_name": told})}, pictures, "photos")


@pytest.mark.parametrize("mark", [",", ";", "\t"])
def test_a_table_of_another_separator(mark: str) -> None:
    table = io.StringIO(newline="")
    writer = csv.writer(table, delimiter=mark)
    writer.writerows([("id", "file_name", "text"), (1, "a.png", 'red; "blue",\tgreen')])
    rows, _ = read_metadata({"metadata.csv": table.getvalue()}, ["a.png"], "photos")
    assert rows["a.png"]["text"] == 'red; "blue",\tgreen'


@given(captions=st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=1))
def test_any_caption_comes_back_from_a_table(captions: list[str]) -> None:
    table = io.StringIO(newline="")
    names = [f"{i}.png" for i in range(len(captions))]
    csv.writer(table).writerows([("file_name", "text"), *zip(names, captions, strict=True)])
    rows, _ = read_metadata({"metadata.csv": table.getvalue()}, names, "photos")
    assert [rows[name]["text"] or "" for name in names] == captions


@pytest.mark.parametrize(
    ("labels", "read"),
    [(["0", "10"], [0, 10]), (["7", ""], [7, None]), (["7", "x"], ["7", "x"]), (["007"], ["007"])],
)
def test_labels_are_numbers_only_if_all_are(labels: list[str], read: list[object]) -> None:
    names = [f"{i}.png" for i in range(len(labels))]
    lines = [f"{name},{label}" for name, label in zip(names, labels, strict=True)]
    text = "\n".join(["file_name,label", *lines])
    rows, _ = read_metadata({"metadata.csv": text}, names, "photos")
    assert [row["label"] for row in rows.values()] == read
