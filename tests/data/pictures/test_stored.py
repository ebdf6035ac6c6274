"""Pictures are decoded when they are needed, and files that are certainly whole are told apart."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from inkdrop.data import dataset
from inkdrop.data.open import open_data
from inkdrop.data.pictures.whole import whole
from inkdrop.media.image import read_image

KINDS = {
    "jpg": ("JPEG", {}),
    "progressive": ("JPEG", {"progressive": True}),
    "exif": ("JPEG", {"exif": b"Exif\0\0" + b"\xff\xd9" * 20}),
    "png": ("PNG", {}),
    "webp": ("WEBP", {}),
}


def encoded(kind: str, seed: int = 0) -> bytes:
    format, options = KINDS[kind]
    pixels = np.random.default_rng(seed).integers(0, 256, (17, 19, 3), np.uint8)
    memory = io.BytesIO()
    Image.fromarray(pixels).save(memory, format, **options)
    return memory.getvalue()


@pytest.mark.parametrize("kind", KINDS)
def test_no_file_that_is_cut_off_passes_for_whole(kind: str) -> None:
    data = encoded(kind)
    assert whole(data)
    for length in range(len(data)):
        if whole(data[:length]):
            assert read_image(data[:length]).shape == (17, 19, 3)


def test_a_png_with_another_bit_is_not_whole() -> None:
    data = encoded("png")
    for place in range(8, len(data)):
        changed = bytearray(data)
        changed[place] ^= 1
        assert not whole(bytes(changed))


def photos(folder: Path) -> list[Path]:
    folder.mkdir()
    files = [folder / f"{i}.{kind[-4:]}" for i, kind in enumerate(["jpg", "png", "webp"] * 3)]
    for i, file in enumerate(files):
        file.write_bytes(encoded(file.suffix[1:], i))
    return files


@pytest.mark.parametrize("room", [0, 10**9])
def test_only_what_is_taken_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    monkeypatch.setattr(dataset, "CACHE_BYTES", room)
    files = photos(tmp_path / "photos")
    data = open_data(tmp_path / "photos")
    want = [
        torch.from_numpy(read_image(file, size=17, channels=3)).permute(2, 0, 1) for file in files
    ]
    (tmp_path / "photos" / "3.jpg").unlink()
    files[4].write_bytes(encoded("png", 99))
    for rows in ([0, 1, 1], [8, 0, 5, 2]):
        found = data.take(rows)
        assert torch.equal(found, torch.stack([want[i] for i in rows]).float() / 127.5 - 1)
    with pytest.raises(ValueError, match=r"3\.jpg"):
        data.take([0, 3])
    with pytest.raises(ValueError, match=r"4\.png has changed since the data was opened"):
        data.take([4])
    files[0].unlink()
    if room:
        data.take([0])  # what was decoded is kept
    else:
        with pytest.raises(ValueError, match=r"0\.jpg"):
            data.take([0])


def test_a_file_cut_off_is_found_when_the_data_is_opened(tmp_path: Path) -> None:
    files = photos(tmp_path / "photos")
    files[0].write_bytes(files[0].read_bytes()[:-30])
    with pytest.raises(ValueError, match=r"1 of 9 pictures .*0\.jpg is corrupt or truncated"):
        open_data(tmp_path / "photos")
