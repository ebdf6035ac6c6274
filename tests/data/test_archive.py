"""What only a zip can get wrong; all else is tried in test_folder.py."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from inkdrop.data import archive
from inkdrop.data.open import open_data


def png(colour: str) -> bytes:
    memory = BytesIO()
    Image.new("RGB", (32, 32), colour).save(memory, "PNG")
    return memory.getvalue()


def write(path: Path, *colours: str) -> bytes:
    with zipfile.ZipFile(path, "w") as made:
        for i, colour in enumerate(colours):
            made.writestr(f"{i}.png", png(colour))
    return path.read_bytes()


def test_nothing_is_unpacked(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", "red", "blue")
    data = open_data(tmp_path / "a.zip")
    assert data.take([1])[0, :, 0, 0].tolist() == [-1, -1, 1]
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.zip"]


def test_a_truncated_zip_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    for data in (write(path, "red", "blue")[:-40], b"", b"text"):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a.zip is corrupt, truncated or not a zip"):
            open_data(path)


def test_a_flipped_bit_in_a_picture_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = bytearray(write(path, "red"))
    data[80] ^= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"1 of 1 .*0.png is corrupt in the archive"):
        open_data(path)


def test_an_encrypted_picture_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    data = bytearray(write(path, "red"))
    data[6] |= 1  # the flag in the file's own header, and in the directory at the end
    data[data.index(b"PK\1\2") + 8] |= 1
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"0.png is encrypted"):
        open_data(path)


def test_a_picture_that_unpacks_to_too_much_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "_MAX_BYTES", 1 << 20)
    write(tmp_path / "a.zip", *["red"] * 120)
    with zipfile.ZipFile(tmp_path / "a.zip", "a", zipfile.ZIP_DEFLATED) as added:
        added.writestr("big.png", png("red") + bytes(1 << 20))
    data = open_data(tmp_path / "a.zip")
    assert len(data) == 120
    assert any("big.png claims over 1 MiB unpacked, so it is not read" in n for n in data.notes)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_is_there_twice_is_one_picture(tmp_path: Path) -> None:
    write(tmp_path / "a.zip", "red")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as added:
        added.writestr("0.png", png("blue"))
    assert len(open_data(tmp_path / "a.zip")) == 1


def test_folders_in_a_zip_from_windows(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as made:
        made.writestr("cat\\a.png", png("red"))
        made.writestr("dog\\b.png", png("blue"))
    data = open_data(tmp_path / "a.zip")
    assert data.label_names == ("cat", "dog")
    assert data.take([1])[0, :, 0, 0].tolist() == [-1, -1, 1]


def test_a_caption_as_long_as_a_book_is_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("a.png", png("red"))
        made.writestr("a.txt", b"x" * 2_000_000)
    with pytest.raises(ValueError, match=r"a.txt in a.zip has 2,000,000 bytes, but may have at"):
        open_data(tmp_path / "a.zip")
