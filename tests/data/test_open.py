"""The one door: what a path is decides, and what it is not is said."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkdrop.data.open import open_data


def test_a_missing_path_names_its_neighbour(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    with pytest.raises(ValueError, match=r"no file or folder .*fotos\. Did you mean 'photos'"):
        open_data(tmp_path / "fotos")


def test_an_empty_path_is_not_the_current_folder() -> None:
    with pytest.raises(ValueError, match=r"path of the data is empty"):
        open_data("")


def test_what_is_no_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.docx").write_text("x")
    with pytest.raises(ValueError, match=r"a.docx cannot be read as data; give a folder"):
        open_data(tmp_path / "a.docx")
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"a.png is a single picture; give the folder"):
        open_data(tmp_path / "a.png")


@pytest.mark.parametrize("name", ["a.tar", "a.tar.gz", "a.tgz", "b.v2.7z", "C.RAR"])
def test_an_archive_that_is_not_read_says_what_to_do(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ValueError, match=r"is an archive .*unpack it .* or make a \.zip of it"):
        open_data(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"size": 0}, r"size is the side of a picture in pixels, at least 1, not 0"),
        ({"channels": 0}, r"channels must be at least 1, not 0"),
        ({"background": "whit"}, r"no colour 'whit'.*Did you mean 'white'"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, int], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_data("digits", **options)  # type: ignore[arg-type]


def test_pictures_of_two_channels_are_refused(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    with pytest.raises(ValueError, match=r"channels is 2: pictures have 1, 3 or 4"):
        open_data(tmp_path, channels=2)


def test_a_folder_around_one_data_file_opens_it(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 8), np.uint8))
    (tmp_path / "LICENSE.txt").write_text("x")
    assert open_data(tmp_path).name == "a.npy"
    np.save(tmp_path / "b.npy", np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(ValueError, match=r"several data files; give one of a.npy, b.npy"):
        open_data(tmp_path)


def test_a_folder_called_digits_is_a_folder_when_written_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "digits").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "digits" / "a.png")
    monkeypatch.chdir(tmp_path)
    assert len(open_data("./digits")) == 1 and len(open_data("digits")) == 1797


def test_importing_is_light() -> None:
    heavy = "PIL", "pyarrow", "sklearn", "pydantic"
    code = f"import sys, inkdrop.data; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
