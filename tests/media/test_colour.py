"""Colour profiles: what they say, and pictures in sRGB."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import icc
import numpy as np
import pytest
from PIL import Image

from inkdrop.data.open import open_data
from inkdrop.media.image import picture_info, read_image
from inkdrop.media.picture import Picture

COLOURS = np.array([[[255, 0, 0], [0, 255, 0], [10, 120, 240], [128, 128, 128]]], np.uint8)


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    memory = BytesIO()
    picture.save(memory, kind, **options)
    return memory.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_colours_become_srgb_by_the_profile(kind: str) -> None:
    data = encoded(Image.fromarray(COLOURS), kind, icc_profile=icc.swapped(), lossless=True)
    assert picture_info(data).profile == "other"
    assert np.array_equal(read_image(data), COLOURS)  # as stored, where it is not asked for
    made = read_image(data, srgb=True).astype(int)
    assert np.abs(made - COLOURS[..., ::-1]).max() <= 1


def test_srgb_stays_to_the_bit() -> None:
    data = encoded(Image.fromarray(COLOURS), icc_profile=icc.srgb())
    assert picture_info(data).profile == "srgb"
    assert np.array_equal(read_image(data, srgb=True), COLOURS)
    plain = encoded(Image.fromarray(COLOURS))
    assert picture_info(plain).profile == "none"
    assert np.array_equal(read_image(plain, srgb=True), COLOURS)


def test_grey_becomes_srgb_grey() -> None:
    values = np.array([[0, 30, 55, 128, 255]], np.uint8)
    data = encoded(Image.fromarray(values), icc_profile=icc.linear_grey())
    light = values / 255  # IEC 61966-2-1
    expected = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    made = read_image(data, srgb=True)
    assert made.shape == (1, 5, 1)
    assert np.abs(made[..., 0] - 255 * expected).max() <= 1


def test_grey_with_a_profile_of_colours() -> None:
    values = np.array([[0, 55, 128, 255]], np.uint8)
    for profile in (icc.swapped(), icc.srgb()):  # both leave grey as it is
        data = encoded(Image.fromarray(values), icc_profile=profile)
        made = read_image(data, srgb=True)
        assert made.shape == (1, 4, 1) and np.abs(made[..., 0].astype(int) - values).max() <= 1


@pytest.mark.parametrize("mode", ["RGBA", "P"])
def test_transparency_stays(mode: str) -> None:
    pixels = np.dstack([COLOURS, np.array([[255, 0, 128, 255]], np.uint8)])
    picture = Image.fromarray(pixels)
    made = encoded(picture.quantize() if mode == "P" else picture, icc_profile=icc.swapped())
    read = read_image(made, srgb=True, channels=4)
    assert np.abs(read[..., 3].astype(int) - pixels[..., 3]).max() <= (2 if mode == "P" else 0)
    assert np.abs(read[0, 0, :3].astype(int) - [0, 0, 255]).max() <= 3


def test_orientation_is_kept() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = Image.fromarray(COLOURS)
    plain = read_image(encoded(picture, exif=exif))
    data = encoded(picture, exif=exif, icc_profile=icc.swapped())
    assert np.abs(read_image(data, srgb=True).astype(int) - plain[..., ::-1]).max() <= 1


@pytest.mark.parametrize("profile", [b"x" * 200, icc.srgb()[:300], icc.linear_grey()])
def test_profiles_that_cannot_be_used_change_nothing(profile: bytes) -> None:
    data = encoded(Image.fromarray(COLOURS), icc_profile=profile)
    assert picture_info(data).profile == "damaged"
    assert np.array_equal(read_image(data, srgb=True), COLOURS)


def test_training_reads_srgb_and_says_so(tmp_path: Path) -> None:
    picture = Image.new("RGB", (8, 8), "red")
    for name, profile in (("a", None), ("b", icc.srgb()), ("c", icc.swapped()), ("d", b"x" * 99)):
        picture.save(tmp_path / f"{name}.png", icc_profile=profile)
    data = open_data(tmp_path)
    seen = data.take(range(4))[:, :, 0, 0].round()
    assert seen.tolist() == [[1, -1, -1], [1, -1, -1], [-1, -1, 1], [1, -1, -1]]
    assert data.notes[1:] == (
        "1 of 4 pictures is in another colour space by the profile and converted to sRGB",
        "1 of 4 pictures is with a colour profile that cannot be used, and taken as sRGB",
    )
    read = Picture().read(tmp_path / "c.png", (3, 8, 8), (-1, 1))
    assert read[:, 0, 0].round().tolist() == [-1, -1, 1]  # what a task reads is what training read
