"""Parquet tables, written with pyarrow in the shapes that are found."""

from __future__ import annotations

import json
import os
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


def shard(folder: Path, name: str, colours: list[str], **columns: list[Any]) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"image": [png(c) for c in colours]} | columns), path)


def test_the_shards_of_a_folder_are_one_table(tmp_path: Path) -> None:
    shard(tmp_path, "data-2.parquet", ["blue"], label=["b"], text=["two"])
    shard(tmp_path, "data-10.parquet", ["white"], label=["c"], text=["three"])
    shard(tmp_path, "data-1.parquet", ["red"], label=["a"], text=["one"])
    data = open_data(tmp_path)
    assert data.name == tmp_path.name and data.captions == ("one", "two", "three")
    assert data.label_names == ("a", "b", "c") and data.labels.tolist() == [0, 1, 2]  # type: ignore[union-attr]
    assert data.take([0, 1, 2])[:, :, 0, 0].tolist() == [[1, -1, -1], [-1, -1, 1], [1, 1, 1]]
    assert data.notes[0] == "3 Parquet files are read as one table"


def test_splits_of_shards_as_the_hub_has_them(tmp_path: Path) -> None:
    for i in range(2):
        shard(tmp_path / "data", f"train-0000{i}-of-00002.parquet", ["red", "blue"])
    shard(tmp_path / "data", "test-00000-of-00001-0123456789abcdef.parquet", ["white"])
    (tmp_path / "README.md").write_text("about")
    data = open_data(tmp_path)
    assert len(data) == 5 and data.notes[0] == (
        "the splits test, train are used together; split='test' selects one"
    )
    assert [len(open_data(tmp_path, split=split)) for split in ("train", "test")] == [4, 1]
    with pytest.raises(ValueError, match=r"no split 'trian'; it has test, train\. Did you mean"):
        open_data(tmp_path, split="trian")
    (tmp_path / "data" / "train-00001-of-00002.parquet").unlink()
    notes = open_data(tmp_path / "data", split="train").notes
    assert "only 1 of the 2 shards of train are there" in notes


def test_a_folder_for_each_split(tmp_path: Path) -> None:
    shard(tmp_path / "default", "train/0000.parquet", ["red", "blue"])
    shard(tmp_path / "default", "validation/0000.parquet", ["white"])
    assert len(open_data(tmp_path, split="validation")) == 1


def test_files_that_are_no_shards_of_one_table(tmp_path: Path) -> None:
    shard(tmp_path, "a.parquet", ["red"], label=[1])
    shard(tmp_path, "b.parquet", ["red"])
    with pytest.raises(ValueError, match=r"b.parquet has no column 'label', which a.parquet has"):
        open_data(tmp_path)
    shard(tmp_path, "b.parquet", ["red"], label=["x"])
    with pytest.raises(ValueError, match=r"columns of other types .* not shards of one table"):
        open_data(tmp_path)
    (tmp_path / "b.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match=r"b.parquet is corrupt"):
        open_data(tmp_path)


@pytest.mark.parametrize("column", ["en_text", "Description", "sentences"])
def test_usual_names_of_captions(tmp_path: Path, column: str) -> None:
    path = write(tmp_path, **{column: list("abcd")})
    assert open_data(path).captions == ("a", "b", "c", "d")


def test_columns_that_are_not_read_are_told(tmp_path: Path) -> None:
    path = write(tmp_path, url=list("abcd"), poem=list("efgh"), text=[{"en": "x"}] * 4)
    data = open_data(path)
    assert data.captions is None and data.notes[-1] == (
        "no captions are read; --caption 'url' (caption='url') takes them from the column url"
        " (also poem)"
    )
    data = open_data(path, caption="poem")
    assert data.captions == ("e", "f", "g", "h")
    assert data.notes[-1].startswith("the columns url, text are not read; --caption, --label and")
    with pytest.raises(ValueError, match=r"text of row 0 in a.parquet must be a text or a list"):
        open_data(path, caption="text")


def test_lists_of_captions(tmp_path: Path) -> None:
    data = open_data(write(tmp_path, captions=[["a", "b"], ["c"], [], None]))
    assert data.captions == ("a", "c", "", "") and data.texts(0) == ("a", "b")
    assert data.subset([1, 0]).texts(1) == ("a", "b")


def test_what_unpacks_to_too_much_is_refused(tmp_path: Path) -> None:
    rows = 300  # of a megabyte each, which the file holds once
    table = pa.table({"image": pa.array([bytes(1_000_000)] * rows, pa.binary())})
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 10_000
    said = r"a.parquet takes 0.1 GiB once it is unpacked, more than the 0.1 GiB allowed; if you"
    with pytest.raises(ValueError, match=said):
        open_data(tmp_path / "a.parquet", max_gib=0.1)
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", use_dictionary=False)
    said = r"takes 0.3 GiB once .* allow more with --max-gib 1 \(max_gib=1\)"
    with pytest.raises(ValueError, match=said):  # as the footer says
        open_data(tmp_path / "a.parquet", max_gib=0.1)


@pytest.mark.parametrize("kind", [pa.large_binary(), pa.binary_view()])
def test_other_types_of_bytes(tmp_path: Path, kind: Any) -> None:
    pictures = pa.array([png(c) for c in COLOURS], pa.binary()).cast(kind)
    words = pa.array(COLOURS).cast(pa.string_view())
    pq.write_table(pa.table({"pixels": pictures, "text": words}), tmp_path / "a.parquet")
    data = open_data(tmp_path / "a.parquet")
    assert len(data) == 4 and data.captions == tuple(COLOURS)


def test_a_name_that_is_not_utf8(tmp_path: Path) -> None:
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.parquet"))
    write(tmp_path).rename(path)
    assert len(open_data(path)) == 4


@pytest.mark.parametrize(
    "about", ["[" * 100_000, "{", '{"info":{"features":{"label":{"names":"ab"}}}}', "[]"]
)
def test_metadata_of_a_table_that_is_of_no_use(tmp_path: Path, about: str) -> None:
    table = pa.table({"image": [png(c) for c in COLOURS], "label": [0, 1, 1, 0]})
    pq.write_table(table.replace_schema_metadata({"huggingface": about}), tmp_path / "a.parquet")
    assert open_data(tmp_path / "a.parquet").label_names == ("0", "1")


def test_a_usual_name_that_holds_no_label_is_told(tmp_path: Path) -> None:
    data = open_data(write(tmp_path, category=[[1], [2], [3], [4]]))
    assert data.labels is None and data.notes[-1].startswith("the column category is not read")
