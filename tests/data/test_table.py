"""Parquet tables, written with pyarrow in the shapes that are found."""

from __future__ import annotations

import json
import sys
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from inkdrop.data.open import open_data

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")

COLOURS = ["red", "blue", "red", "white"]


def png(colour: str) -> bytes:
    memory = BytesIO()
    Image.new("RGB", (8, 8), colour).save(memory, "PNG")
    return memory.getvalue()


def write(folder: Path, **columns: list[Any]) -> Path:
    path = folder / "a.parquet"
    pq.write_table(pa.table({"image": [png(c) for c in COLOURS]} | columns), path)
    return path


def test_pictures_labels_names_and_captions(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        label=[1, 0, 1, 2],
        name=["rot", "blau", "rot", "weiss"],
        caption=["a", None, "c", "d"],
    )
    data = open_data(path)
    assert data.shape == (3, 8, 8)
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1, 2]
    assert data.label_names == ("blau", "rot", "weiss")
    assert data.captions == ("a", "", "c", "d")
    said = "1 of 4 pictures is without a caption; an empty one is used: row 1"
    assert data.notes[-1] == said
    assert data.take([1])[0, :, 0, 0].tolist() == [-1, -1, 1]


def test_names_that_do_not_match_the_labels_are_left(tmp_path: Path) -> None:
    path = write(tmp_path, label=[1, 0, 1, 2], name=["ann", "bob", "cid", "dan"])
    assert open_data(path).label_names == ("0", "1", "2")


def test_words_as_labels_and_columns_by_name(tmp_path: Path) -> None:
    path = write(tmp_path, kind=COLOURS, words=["x", "y", "z", "w"])
    assert open_data(path).labels is None
    data = open_data(path, label="kind", caption="words")
    assert data.label_names == ("blue", "red", "white") and data.captions == ("x", "y", "z", "w")
    path = write(tmp_path, kind=COLOURS, caption=pa.array([None] * 4, pa.string()))
    assert open_data(path).captions is None
    with pytest.raises(ValueError, match=r"no captions for caption='caption': the column is empty"):
        open_data(path, caption="caption")
    with pytest.raises(ValueError, match=r"no column 'kindd' for label.*Did you mean 'kind'"):
        open_data(path, label="kindd")


def test_structs_and_names_as_datasets_writes_them(tmp_path: Path) -> None:
    about = {"info": {"features": {"label": {"names": ["a", "b", "c", "d"]}}}}
    images = [{"bytes": png(c), "path": f"{c}.png"} for c in COLOURS]
    table = pa.table({"img": images, "label": [3, 1, 1, 3]})
    table = table.replace_schema_metadata({"huggingface": json.dumps(about)})
    pq.write_table(table, tmp_path / "a.parquet")
    data = open_data(tmp_path / "a.parquet")
    assert data.labels is not None and data.labels.tolist() == [3, 1, 1, 3]
    assert data.label_names == ("a", "b", "c", "d")


def test_a_part_of_the_rows(tmp_path: Path) -> None:
    path = write(tmp_path, split=["train", "val", "train", "train"], label=[0, 1, 2, 3])
    assert len(open_data(path)) == 4 and "train, val" in open_data(path).notes[0]
    assert len(open_data(path, split="train")) == 3
    with pytest.raises(ValueError, match=r"no split 'vali'.*Did you mean 'val'"):
        open_data(path, split="vali")
    with pytest.raises(ValueError, match=r"no column split"):
        open_data(write(tmp_path), split="train")


def test_the_picture_column_is_found_or_asked_for(tmp_path: Path) -> None:
    images = [png(c) for c in COLOURS]
    pq.write_table(pa.table({"pixels": images, "n": [1, 2, 3, 4]}), tmp_path / "a.parquet")
    assert len(open_data(tmp_path / "a.parquet")) == 4
    pq.write_table(pa.table({"left": images, "right": images}), tmp_path / "a.parquet")
    with pytest.raises(ValueError, match=r"2 columns of bytes that could be pictures.*left, right"):
        open_data(tmp_path / "a.parquet")
    assert len(open_data(tmp_path / "a.parquet", image="right")) == 4


def test_bad_rows_are_named(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": [png("red"), None, b"text"]}), path)
    with pytest.raises(ValueError, match=r"2 of 3 .*row 1 holds NoneType instead.*; row 2 is not"):
        open_data(path)
    pq.write_table(pa.table({"image": ["a.png"]}), path)
    with pytest.raises(ValueError, match=r"row 0 holds str instead of an encoded picture"):
        open_data(path)
    pq.write_table(pa.table({"image": pa.array([], pa.binary())}), path)
    with pytest.raises(ValueError, match=r"a.parquet has no rows"):
        open_data(path)


def test_a_skipped_row_takes_its_label_along(tmp_path: Path) -> None:
    images = [png("red")] * 60 + [b""] + [png("blue")] * 60
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"image": images, "label": [0] * 60 + [2] + [1] * 60}), path)
    data = open_data(path)
    assert data.labels is not None and data.labels.tolist() == [0] * 60 + [1] * 60
    assert any("1 of 121 pictures is skipped: row 60 is empty" in note for note in data.notes)


@pytest.mark.parametrize("data", [b"", b"text", b"PAR1" + bytes(50)])
def test_broken_tables_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"a.parquet is corrupt, truncated or not a Parquet"
    ) as caught:
        open_data(path)
    assert "\n" not in str(caught.value)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path)
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(
        ValueError, match=r"needs pyarrow; install it with: pip install 'inkdrop\[parquet\]'"
    ):
        open_data(path)
