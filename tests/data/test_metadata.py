"""Rows of metadata by themselves; folders and zips of them are in test_folder.py."""

from __future__ import annotations

import csv
import io

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
