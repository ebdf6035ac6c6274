"""Folders and zips of pictures: the same tree is tried as both."""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from inkdrop.data import dataset
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data

Opens = Callable[..., Dataset]


def picture(
    path: Path, colour: Any = "red", size: tuple[int, int] = (8, 8), mode: str = "RGB"
) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new(mode, size, colour).save(path)


def zipped(folder: Path) -> Path:
    path = folder.parent / f"{folder.name}.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder))
    return path


@pytest.fixture(params=["folder", "zip"])
def opens(request: pytest.FixtureRequest) -> Opens:
    """Opens a folder as it is, or the zip of it."""
    kind = request.param
    return lambda folder, **options: open_data(
        zipped(folder) if kind == "zip" else folder, **options
    )


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    return folder


def test_classes_are_sub_folders(opens: Opens, root: Path) -> None:
    picture(root / "rose" / "deep" / "b.png", "red")
    picture(root / "rose" / "a.PNG", "red")
    picture(root / "daisy" / "c.jpg", "white")
    data = opens(root)
    assert data.labels is not None and data.labels.tolist() == [0, 1, 1]
    assert data.label_names == ("daisy", "rose") and data.shape == (3, 8, 8)
    assert data.take([1]).mean((2, 3)).tolist() == [[1, -1, -1]]


def test_a_folder_around_everything_is_no_class(opens: Opens, root: Path) -> None:
    for name in ("set/rose/a.png", "set/daisy/b.png"):
        picture(root / name)
    assert opens(root).label_names == ("daisy", "rose")


def test_without_sub_folders_or_with_one_there_are_no_labels(opens: Opens, root: Path) -> None:
    picture(root / "all" / "a.png")
    assert opens(root).labels is None
    picture(root / "b.png")
    picture(root / "more" / "c.png")
    data = opens(root)
    assert data.labels is None
    assert any("1 of 3 pictures is outside subfolders" in note for note in data.notes)


def test_parts_are_no_classes(opens: Opens, root: Path) -> None:
    for name in ("train/rose/a.png", "train/daisy/b.png", "test/rose/c.png"):
        picture(root / name)
    data, train = opens(root), opens(root, split="train")
    assert len(data) == 3 and data.label_names == ("daisy", "rose")
    assert any("the splits test, train are used together" in note for note in data.notes)
    assert len(train) == 2 and train.label_names == ("daisy", "rose")
    with pytest.raises(ValueError, match=r"no subfolder 'trian'.*Did you mean 'train'"):
        opens(root, split="trian")


def test_captions_in_text_files(opens: Opens, root: Path) -> None:
    for name in ("a.png", "b.png", "c.png"):
        picture(root / name)
    (root / "a.txt").write_text("a red square\n", encoding="utf-8")
    (root / "c.txt").write_text("\n")
    (root / "readme.txt").write_text("about")
    data = opens(root)
    assert data.captions == ("a red square", "", "")
    assert data.notes[1:] == (
        "1 of 3 pictures is without a caption; an empty one is used: b.png",
        "1 of 3 captions is empty: c.png",
        "1 of 3 .txt files is ignored for lack of a picture of the same name: readme.txt",
    )


def test_many_are_counted_and_ten_listed(opens: Opens, root: Path) -> None:
    for i in range(24):
        picture(root / f"{i:02}.png")
        (root / f"{i + 12:02}.caption").write_text("c")
    first, second = opens(root).notes[1:]
    assert first.startswith("12 of 24 pictures are without") and first.endswith(", 09.png, ...")
    assert (
        second.startswith("12 of 24 .caption files are ignored for lack")
        and "33.caption, ..." in second
    )


def test_classes_and_captions_together(opens: Opens, root: Path) -> None:
    for name in ("train/rose/a", "train/daisy/b", "test/rose/c"):
        picture(root / f"{name}.png")
        (root / f"{name}.txt").write_text(f"caption of {name}")
    data, train = opens(root), opens(root, split="train")
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1]
    assert data.captions is not None and data.captions[0] == "caption of test/rose/c"
    assert train.captions == ("caption of train/daisy/b", "caption of train/rose/a")
    assert train.label_names == ("daisy", "rose") and len(train.notes) == 1


def test_metadata_tells_captions_and_labels(opens: Opens, root: Path) -> None:
    rows = [
        {"file_name": "b.png", "text": "second", "label": "cat"},
        {"file_name": "./a.png", "caption": "first", "label": "dog"},
    ]
    picture(root / "in" / "a.png")
    picture(root / "in" / "b.png")
    (root / "in" / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)) + "\n\n")
    data = opens(root)
    assert data.captions == ("first", "second") and data.label_names == ("cat", "dog")
    assert data.labels is not None and data.labels.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", r"metadata.jsonl line 2 in photos(.zip)? is not JSON"),
        ('{"text": "x"}', r'line 2 .* must be an object with "file_name"'),
        (
            '{"file_name": "q.png"}',
            r"1 of 2 rows .* no matching picture.*: q.png. Did you mean 'b.png'",
        ),
        ('{"file_name": ""}', r'line 2 .* must be an object with "file_name"'),
        ('{"file_name": "./a.png"}', r"line 2 in .* is a second row for './a.png'"),
        (
            '{"file_name": "b.png", "text": "c"}\n{"file_name": "b.png"}',
            r"line 3 in .* is a second row for 'b.png'",
        ),
        ('{"file_name": "b.png"}', r"has labels in label, but none for b.png"),
    ],
)
def test_metadata_that_is_wrong_is_refused(opens: Opens, root: Path, line: str, said: str) -> None:
    picture(root / "a.png")
    picture(root / "b.png")
    (root / "metadata.jsonl").write_text('{"file_name": "a.png", "label": 3}\n' + line)
    with pytest.raises(ValueError, match=said):
        opens(root)


CSV = 'file_name,text,label\r\nb.png,"a ""red"" boat,\nat sea",2\r\na.png,배 🐱,10\r\n'


def test_metadata_as_a_table(opens: Opens, root: Path) -> None:
    picture(root / "in" / "a.png")
    picture(root / "in" / "b.png")
    (root / "in" / "metadata.csv").write_text(CSV, encoding="utf-8-sig", newline="")
    data = opens(root)
    assert data.captions == ("배 🐱", 'a "red" boat,\nat sea') and len(data.notes) == 1
    assert data.label_names == ("2", "10")  # as numbers, not as words
    (root / "in" / "metadata.csv").write_text("file_name,label,text\na.png,x,\nb.png,y,c\n")
    data = opens(root)
    assert data.label_names == ("x", "y") and data.captions == ("", "c")
    assert data.notes[1] == ("1 of 2 pictures is without a caption; an empty one is used: in/a.png")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"metadata.csv in .* must start with the names of its columns"),
        ("name,text\na.png,x", r"including file_name, .* not 'name, text'"),
        (
            "file_name,text\na.png,a boat, at sea",
            r"line 2 .* has 3 values for 2 columns; put a caption",
        ),
        (
            'file_name,text\na.png,"a boat',
            r"metadata.csv line 2 .* is not CSV \(unexpected end",
        ),
        ("file_name,text\n,a boat", r"line 2 in .* has an empty column file_name"),
        ("file_name,text\nA.png,a boat", r"1 of 1 rows of metadata .* A.png. Did you mean 'a.png'"),
    ],
)
def test_a_table_that_is_wrong_is_refused(opens: Opens, root: Path, text: str, said: str) -> None:
    picture(root / "a.png")
    (root / "metadata.csv").write_text(text)
    with pytest.raises(ValueError, match=said) as caught:
        opens(root)
    assert "\n" not in str(caught.value)


def test_separators_of_lines_within_a_caption(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    caption = "one\u2028two\x85three"
    row = json.dumps({"file_name": "a.png", "prompt": caption}, ensure_ascii=False)
    (root / "metadata.jsonl").write_text(row, encoding="utf-8")
    assert opens(root).captions == (caption,)


def test_captions_that_are_asked_for(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    with pytest.raises(ValueError, match=r"no captions for caption='tags'.*there is no metadata"):
        opens(root, caption="tags")
    row = {"file_name": "a.png", "text": "of text", "tags": "of tags"}
    (root / "metadata.jsonl").write_text(json.dumps(row))
    with pytest.raises(ValueError, match=r"no captions for caption='.txt'.* a.png and a.txt"):
        opens(root, caption=".txt")
    (root / "a.txt").write_text("of a file")
    captions = {asked: opens(root, caption=asked).captions for asked in (None, "tags", ".txt")}
    assert captions == {None: ("of text",), "tags": ("of tags",), ".txt": ("of a file",)}
    with pytest.raises(ValueError, match=r"columns are file_name, text, tags. Did you mean 'tags'"):
        opens(root, caption="tag")


def test_one_colour_picture_makes_all_rgb(opens: Opens, root: Path) -> None:
    for i in range(3):
        picture(root / f"{i}.png", 100, mode="L")
    assert opens(root).shape == (1, 8, 8)
    picture(root / "colour.png", "red")
    data = opens(root)
    assert data.shape == (3, 8, 8)
    assert sum("3 of 4 pictures are grey and expanded to RGB" in note for note in data.notes) == 1
    assert torch.allclose(data.take([0]), torch.tensor(100 / 127.5 - 1))
    assert opens(root, channels=1).shape == (1, 8, 8)
    assert opens(root, channels=4).shape == (4, 8, 8)


def test_transparent_grey_over_a_colour_is_rgb(opens: Opens, root: Path) -> None:
    picture(root / "a.png", (0, 0), mode="LA")
    assert opens(root).shape == (1, 8, 8)
    data = opens(root, background="red")
    assert data.take([0])[0, :, 0, 0].tolist() == [1, -1, -1]
    assert any("transparent and composited over red" in note for note in data.notes)


def test_the_size_is_64_or_the_smallest_side(opens: Opens, root: Path) -> None:
    picture(root / "a.png", size=(200, 100))
    data = opens(root)
    assert data.shape == (3, 64, 64) and "64x64, the default" in data.notes[0]
    picture(root / "b.png", size=(50, 40))
    data = opens(root)
    assert data.shape == (3, 40, 40)
    assert "the shorter side of the smallest picture b.png (50x40)" in data.notes[0]
    data = opens(root, size=48)
    assert data.shape == (3, 48, 48) and "1 of 2 pictures is smaller and enlarged" in data.notes[0]


def test_one_thumbnail_does_not_shrink_all(opens: Opens, root: Path) -> None:
    for i in range(7):
        picture(root / f"{i}.png", size=(30, 20 + i))
    assert opens(root).shape == (3, 20, 20)
    picture(root / "thumb.png", size=(2, 1))
    data = opens(root)
    assert data.shape == (3, 20, 20)
    assert "1 of 8 pictures is smaller and enlarged: thumb.png (2x1)" in data.notes[0]
    picture(root / "other.png", size=(3, 3))
    assert opens(root).shape == (3, 3, 3)


def test_frames_beyond_the_first_are_told(opens: Opens, root: Path) -> None:
    for suffix in ("gif", "webp", "tiff", "png"):
        frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
        frames[0].save(root / f"a.{suffix}", save_all=True, append_images=frames[1:])
    picture(root / "single.gif")
    notes = [note for note in opens(root).notes if "frames" in note]
    assert len(notes) == 1 and "4 of 5 pictures are of several frames or pages" in notes[0]


def test_a_photo_with_its_preview_is_one_picture(opens: Opens, root: Path) -> None:
    both = Image.new("RGB", (8, 8), "red"), Image.new("RGB", (8, 8), "lime")
    both[0].save(root / "a.jpg", "MPO", save_all=True, append_images=both[1:])
    assert not any("frames" in note for note in opens(root).notes)


# The layout that the dataset tools of StyleGAN and EDM write: pictures in folders of a thousand.
LISTED = {"00000/img0.png": 3, "00000/img1.png": 1, "00001/img2.png": 3}


@pytest.mark.parametrize("pairs", [list(LISTED.items()), LISTED], ids=["pairs", "object"])
def test_labels_in_a_dataset_json(opens: Opens, root: Path, pairs: Any) -> None:
    for name in LISTED:
        picture(root / name)
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    data = opens(root)
    assert data.labels is not None and data.labels.tolist() == [1, 0, 1]
    assert data.label_names == ("1", "3") and not any("dataset.json" in n for n in data.notes)
    (root / "metadata.csv").write_text("file_name,label\n" + "\n".join(f"{n},0" for n in LISTED))
    data = opens(root)
    assert data.label_names == ("0",) and any("not read: dataset.json" in n for n in data.notes)


@pytest.mark.parametrize("label", [None, [0.5, 0.1]], ids=["null", "vectors"])
def test_a_dataset_json_without_classes(opens: Opens, root: Path, label: Any) -> None:
    for name in LISTED:
        picture(root / name)
    pairs = None if label is None else [[name, label] for name in LISTED]
    (root / "dataset.json").write_text(json.dumps({"labels": pairs}))
    data = opens(root)
    assert data.labels is None and data.label_names == ()
    assert any("vector is not read" in note for note in data.notes) == (label is not None)


@pytest.mark.parametrize("text", ['{"labels": {"0": "lung"}}', "[1, 2]", "{", '{"labels": [1]}'])
def test_another_dataset_json_is_told_and_left(opens: Opens, root: Path, text: str) -> None:
    for name in LISTED:
        picture(root / name)
    (root / "dataset.json").write_text(text)
    data = opens(root)
    assert data.label_names == ("00000", "00001")
    assert any("1 table is not read: dataset.json" in note for note in data.notes)


def test_a_dataset_json_that_misses_a_picture_is_refused(opens: Opens, root: Path) -> None:
    for name in (*LISTED, "00001/img3.png"):
        picture(root / name)
    (root / "dataset.json").write_text(json.dumps({"labels": list(LISTED.items())}))
    with pytest.raises(ValueError, match=r"none for 00001/img3\.png"):
        opens(root)


def test_numbers_before_the_names_of_folders_repeat_nothing(opens: Opens, root: Path) -> None:
    picture(root / "10_cat" / "a.png")
    picture(root / "1_dog" / "b.png")
    data = opens(root)
    assert len(data) == 2 and data.label_names == ("1_dog", "10_cat")
    assert any("whole name, such as 1_dog, is its label" in note for note in data.notes)
    picture(root / "bird" / "c.png")
    assert not any("whole name" in note for note in opens(root).notes)


def test_words_at_the_start_of_names_are_no_labels_and_that_is_told(
    opens: Opens, root: Path
) -> None:
    for name in ("cat_1.png", "cat_2.png", "dog_1.png", "dog_2.png"):
        picture(root / name)
    data = opens(root)
    told = [note for note in data.notes if "names begin with (cat, dog) are not read" in note]
    assert data.labels is None and len(told) == 1
    picture(root / "7.png")
    assert not any("names begin" in note for note in opens(root).notes)


def test_a_text_of_several_lines_is_one_caption_and_that_is_told(opens: Opens, root: Path) -> None:
    for name, text in {"a": "one\n\ntwo\n", "b": "three\n"}.items():
        picture(root / f"{name}.png")
        (root / f"{name}.txt").write_text(text)
    data = opens(root)
    assert data.captions == ("one\n\ntwo", "three") and data.several is None
    assert any("1 of 2 text files is of several lines" in note for note in data.notes)


def test_all_texts_that_cannot_be_read_are_named_at_once(opens: Opens, root: Path) -> None:
    for name in "abc":
        picture(root / f"{name}.png")
        (root / f"{name}.txt").write_bytes(b"it\x92s" if name != "b" else b"its")
    with pytest.raises(
        ValueError, match=r"^a.txt .* is not UTF-8.*; 1 more cannot be read: c.txt$"
    ):
        opens(root)


def test_masks_beside_pictures_are_not_trained_on(opens: Opens, root: Path) -> None:
    for name in ("a.jpg", "a-masklabel.png", "b.png", "b-masklabel2.png", "b-condlabel.png"):
        picture(root / name)
    picture(root / "c-masklabel.png")  # of nothing: a picture like any other
    data = opens(root)
    assert data.names == ["a.jpg", "b.png", "c-masklabel.png"]
    assert [note for note in data.notes if "masks" in note] == [
        "3 masks of pictures are not read: a-masklabel.png, b-condlabel.png, b-masklabel2.png"
    ]


def test_a_folder_of_masks_is_told(opens: Opens, root: Path) -> None:
    picture(root / "images" / "a.png")
    picture(root / "Masks" / "a.png")
    assert any("subfolder Masks is read as a class" in note for note in opens(root).notes)


def test_hidden_files_are_not_seen(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    for name in (".b.png", ".git/c.png", "__MACOSX/d.png"):
        picture(root / name)
    assert len(opens(root)) == 1


def test_a_bad_picture_in_a_hundred_is_skipped_and_named(opens: Opens, root: Path) -> None:
    for i in range(99):
        picture(root / "in" / f"{i:02}.png", (i, 0, 0))
        (root / "in" / f"{i:02}.txt").write_text(str(i))
    (root / "in" / "50x.png").write_bytes((root / "in" / "50.png").read_bytes()[:-30])
    data = opens(root)
    assert len(data) == 99 and data.captions == tuple(map(str, range(99)))
    assert data.take([51])[0, 0, 0, 0] == pytest.approx(51 / 127.5 - 1)
    assert any("1 of 100 pictures is skipped: in/50x.png is corrupt" in n for n in data.notes)


def test_more_bad_pictures_are_refused_with_reasons(opens: Opens, root: Path) -> None:
    for i in range(19):
        picture(root / f"{i}.png")
    (root / "a.png").write_bytes(b"")
    with pytest.raises(ValueError, match=r"1 of 20 pictures in photos.* 1 %.*: a.png is empty"):
        opens(root)
    for name in ("b.png", "c.jpg", "d.webp"):
        (root / name).write_text("not a picture")
    with pytest.raises(ValueError, match=r"4 of 23 .*b.png is not a picture.*; and 1 more"):
        opens(root)


def test_nothing_to_read_says_what_was_sought(opens: Opens, root: Path) -> None:
    (root / "a.heic").write_text("x")
    with pytest.raises(ValueError, match=r"no pictures.*\.png.*1 other files \(a.heic\); convert"):
        opens(root)
    (root / "a.heic").unlink()
    with pytest.raises(ValueError, match=r"found no files at all"):
        opens(root)


def test_columns_are_not_for_folders(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    with pytest.raises(ValueError, match=r"has no choice of label; leave out label='style'"):
        opens(root, label="style")


def test_pictures_on_demand_are_the_same(
    opens: Opens, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for i in range(5):
        picture(root / f"{i}.png", (i * 50, 0, 0))
    cached = opens(root)
    monkeypatch.setattr(dataset, "CACHE_BYTES", 100)
    lazy = opens(root)
    assert torch.equal(lazy.take([4, 0, 4]), cached.take([4, 0, 4]))
    assert lazy.fingerprint == cached.fingerprint
    (root / "5.png").write_bytes((root / "4.png").read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"1 of 6 pictures"):  # found at opening, not at use
        opens(root)


def test_the_fingerprint_is_of_content_not_place(root: Path, tmp_path: Path) -> None:
    picture(root / "a.png", "red")
    first = open_data(root).fingerprint
    assert open_data(zipped(root)).fingerprint == first
    (tmp_path / "other").mkdir()
    picture(tmp_path / "other" / "a.png", "red")
    assert open_data(tmp_path / "other").fingerprint == first
    assert open_data(root, size=4).fingerprint != first
    for name in ("a.txt", "metadata.csv"):
        texts = ("file_name,text\na.png,one", "file_name,text\na.png,two")
        prints = set()
        for text in texts:
            (root / name).write_text(text)
            prints.add(open_data(root).fingerprint)
        assert len(prints | {first}) == 3
        (root / name).unlink()
    picture(root / "a.png", "blue")
    assert open_data(root).fingerprint != first


def test_links_in_a_circle_end(root: Path) -> None:
    picture(root / "in" / "a.png")
    (root / "in" / "back").symlink_to(root, target_is_directory=True)
    assert len(open_data(root)) == 1


def test_draws_are_in_range_and_of_the_right_kind(root: Path) -> None:
    rng = np.random.default_rng(0)
    for i in range(4):
        Image.fromarray(rng.integers(0, 256, (80, 90, 3), np.uint8)).save(root / f"{i}.jpg")
    x = open_data(root).take(range(4))
    assert x.shape == (4, 3, 64, 64) and x.dtype == torch.float32
    assert x.min() >= -1 and x.max() <= 1 and x.is_contiguous()


@pytest.mark.parametrize("column", ["description", "Sentences", "en_text", "alt text"])
def test_usual_names_of_captions(opens: Opens, root: Path, column: str) -> None:
    picture(root / "a.png")
    (root / "METADATA.jsonl").write_text(json.dumps({"image": "a.png", column: "a boat"}))
    data = opens(root)
    assert data.captions == ("a boat",) and len(data.notes) == 1


def test_words_in_a_column_of_another_name_are_told(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    row = {"file_name": "a.png", "id": "7", "haiku": "an old pond", "style": "flat", "likes": 3}
    (root / "metadata.jsonl").write_text(json.dumps(row))
    data = opens(root)
    assert data.captions is None and data.notes[-1] == (
        "no captions are read; --caption 'haiku' (caption='haiku') takes them from the column haiku"
        " (also style)"
    )
    data = opens(root, caption="haiku", label="style")
    assert data.captions == ("an old pond",) and data.label_names == ("flat",)
    assert data.notes[-1] == (
        "the columns id, likes are not read; --caption, --label and --image choose columns"
    )


def test_a_list_of_captions_is_a_choice(opens: Opens, root: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(root / name)
    rows = [{"file_name": "a.png", "text": ["one", "two"]}, {"file_name": "b.png", "text": "three"}]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    data = opens(root)
    assert data.captions == ("one", "three") and data.texts(0) == ("one", "two")
    assert "up to 2 captions each" in data.describe()
    assert data.subset([1]).texts(0) == ("three",)
    rows[0]["text"] = ["one", "four"]
    (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert opens(root).fingerprint != data.fingerprint


def test_columns_that_are_asked_for(opens: Opens, root: Path) -> None:
    for name in ("a.png", "b.png"):
        picture(root / name)
    table = "left,right,kind\na.png,b.png,x\nb.png,a.png,y\n"
    (root / "metadata.csv").write_text(table)
    with pytest.raises(ValueError, match=r"including file_name, such as"):
        opens(root)
    assert opens(root, image="left", label="kind").labels.tolist() == [0, 1]  # type: ignore[union-attr]
    assert opens(root, image="right", label="kind").labels.tolist() == [1, 0]  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"no column 'kin' for label='kin'.*Did you mean 'kind'"):
        opens(root, image="left", label="kin")


def test_a_usual_name_that_holds_no_label_is_left(opens: Opens, root: Path) -> None:
    for name in ("x/a.png", "y/b.png"):
        picture(root / name)
    (root / "metadata.jsonl").write_text('{"file_name": "x/a.png", "category": ["p", "q"]}')
    data = opens(root)
    assert data.label_names == ("x", "y") and "column category" in data.notes[-1]


def test_names_in_either_spelling_of_unicode(opens: Opens, root: Path) -> None:
    picture(root / "cafe\u0301.png")
    row = {"file_name": "caf\u00e9.png", "text": "a caf\u00e9"}
    (root / "metadata.jsonl").write_text(json.dumps(row))
    assert opens(root).captions == ("a caf\u00e9",)


def test_file_names_as_windows_writes_them(opens: Opens, root: Path) -> None:
    picture(root / "in" / "a.png")
    (root / "metadata.csv").write_text("file_name,text\nin\\a.png,a boat\n")
    assert opens(root).captions == ("a boat",)


def test_classes_called_by_numbers_are_in_order(opens: Opens, root: Path) -> None:
    for i in range(1, 13):
        picture(root / str(i) / f"{i}.png")
    data = opens(root)
    assert data.label_names == tuple(map(str, range(1, 13)))
    assert data.labels is not None and data.labels.tolist() == list(range(12))


def test_tables_that_are_not_read_are_named(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    (root / "captions.csv").write_text("file,text\na.png,x\n")
    (root / "notes.md").write_text("x")
    first, second = opens(root).notes[1:]
    assert first.startswith("1 table is not read: captions.csv; call one metadata.csv")
    assert second == "1 of 3 files is ignored (not a known picture format): notes.md"


def test_further_suffixes_of_pictures(opens: Opens, root: Path) -> None:
    for name in ("a.jfif", "b.JPE", "c.jpg"):
        Image.new("RGB", (8, 8)).save(root / name, "JPEG")
    (root / "a.TXT").write_text("a boat")
    data = opens(root)
    assert len(data) == 3 and data.captions == ("a boat", "", "")


def test_two_columns_of_one_name_are_refused(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    (root / "metadata.csv").write_text("file_name,text,text\na.png,x,y\n")
    with pytest.raises(ValueError, match=r"metadata.csv in .* has two columns 'text'"):
        opens(root)


def test_what_is_no_regular_file_is_not_opened(root: Path) -> None:
    picture(root / "a.png")
    os.mkfifo(root / "b.png")
    (root / "c.png").symlink_to("/dev/zero")
    data = open_data(root)
    assert len(data) == 1 and data.notes[-1] == (
        "2 entries are not read, as a FIFO, socket or device is no file: b.png, c.png"
    )
    with pytest.raises(ValueError, match=r"b\.png is neither a file nor a folder but a device"):
        open_data(root / "b.png")


def test_names_that_are_not_utf8_are_read_and_written_out(root: Path) -> None:
    for name in (b"caf\xe9", b"tea"):
        folder = Path(os.fsdecode(os.fsencode(root) + b"/" + name))
        picture(folder / "a.png")
    (folder / "b.png").write_bytes(b"")
    for i in range(120):
        picture(folder / f"{i}.png")
    data = open_data(root)
    assert data.label_names == ("caf\\xe9", "tea") and len(data) == 122
    data.describe().encode("utf-8")


@pytest.mark.parametrize("name", ["train-images-idx3-ubyte", "a.parquet", "a.npy"])
def test_a_fifo_in_place_of_a_data_file_is_not_opened(root: Path, name: str) -> None:
    os.mkfifo(root / name)
    with pytest.raises(ValueError, match=r"photos has no pictures: searched it"):
        open_data(root)


def test_a_link_that_leads_nowhere(root: Path) -> None:
    picture(root / "a.png")
    (root / "a.txt").symlink_to("nowhere")
    with pytest.raises(ValueError, match=r"a.txt in photos cannot be read: No such file"):
        open_data(root)


def test_metadata_nested_deeply_is_no_caption(opens: Opens, root: Path) -> None:
    picture(root / "a.png")
    row = '{"file_name": "a.png", "text": ' + "[" * 900 + "]" * 900 + "}"
    (root / "metadata.jsonl").write_text(row)
    data = opens(root)
    assert data.captions is None and "column text is not read" in data.notes[-1]
