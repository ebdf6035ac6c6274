"""Reading by stated rules, against pixels worked out by hand; writing by reading back."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageFile

from inkdrop.media.image import from_picture, picture_info, read_image
from inkdrop.media.sheet import save_animation, save_image, sheet, strip, to_picture

RAMP = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    memory = BytesIO()
    picture.save(memory, kind, **options)
    return memory.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A tiny PNG whose header claims any size."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"IDAT" + zlib.compress(bytes(49_000), 0)
    chunks = [
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c))
        for c in (body, data, b"IEND")
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def test_grey_and_colour_keep_their_pixels() -> None:
    grey = read_image(encoded(Image.fromarray(RAMP)))
    assert grey.dtype == np.uint8 and np.array_equal(grey, RAMP[..., None])
    colour = np.stack([RAMP, RAMP + 1, RAMP + 2], -1)
    assert np.array_equal(read_image(encoded(Image.fromarray(colour))), colour)


def test_one_bit_becomes_black_and_white() -> None:
    bits = np.array([[True, False], [False, True]])
    assert np.array_equal(read_image(encoded(Image.fromarray(bits)))[..., 0], bits * 255)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_turned(orientation: int) -> None:
    turns = {
        1: RAMP, 2: RAMP[:, ::-1], 3: RAMP[::-1, ::-1], 4: RAMP[::-1], 5: RAMP.T,
        6: np.rot90(RAMP, -1), 7: np.rot90(RAMP, 2).T, 8: np.rot90(RAMP, 1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(Image.fromarray(RAMP), exif=exif)
    assert np.array_equal(read_image(data)[..., 0], turns[orientation])
    info = picture_info(data)
    assert (info.height, info.width) == turns[orientation].shape


def test_alpha_is_laid_over_the_background() -> None:
    data = encoded(Image.new("RGBA", (1, 1), (255, 0, 0, 51)))  # 51/255 = 1/5
    assert read_image(data)[0, 0].tolist() == [255, 204, 204]
    assert read_image(data, background="black")[0, 0].tolist() == [51, 0, 0]
    assert read_image(data, background="#00ff00")[0, 0].tolist() == [51, 204, 0]
    assert read_image(data, channels=4)[0, 0].tolist() == [255, 0, 0, 51]


def test_grey_with_alpha_stays_grey_over_a_grey() -> None:
    data = encoded(Image.new("LA", (1, 1), (0, 51)))
    assert read_image(data).tolist() == [[[204]]]
    assert read_image(data, background="red")[0, 0].tolist() == [204, 0, 0]
    assert picture_info(data).channels == 1 and picture_info(data).alpha


def test_palettes_grey_and_coloured_and_transparent() -> None:
    picture = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    picture.putpalette([10, 10, 10, 200, 200, 200])
    assert read_image(encoded(picture))[..., 0].tolist() == [[10, 200]]
    picture.putpalette([10, 20, 30, 200, 200, 200])
    assert read_image(encoded(picture)).tolist() == [[[10, 20, 30], [200, 200, 200]]]
    transparent = encoded(picture, transparency=0)
    assert read_image(transparent).tolist() == [[[255, 255, 255], [200, 200, 200]]]


def test_a_colour_that_means_transparent() -> None:
    data = encoded(Image.new("RGB", (1, 1), (1, 2, 3)), transparency=(1, 2, 3))
    assert read_image(data)[0, 0].tolist() == [255, 255, 255]


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_other_colour_spaces_become_rgb(mode: str) -> None:
    white = {"CMYK": (0, 0, 0, 0), "YCbCr": (255, 128, 128), "LAB": (255, 128, 128)}[mode]
    pixels = read_image(encoded(Image.new(mode, (4, 4), white), "TIFF"))
    assert pixels.shape == (4, 4, 3) and pixels.min() >= 254


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    deep = np.array([[0, 257, 32896, 65535]], np.uint16)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(deep), kind)
        assert read_image(data)[..., 0].tolist() == [[0, 1, 128, 255]]
        assert picture_info(data).channels == 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0.0, 0.2, 1.0], [0, 51, 255]), ([-10.0, 0.0, 15.0], [0, 102, 255]), ([7.0] * 3, [0] * 3)],
)
def test_floats_run_over_the_whole_range(values: list[float], expected: list[int]) -> None:
    data = encoded(Image.fromarray(np.array([values], np.float32)), "TIFF")
    assert read_image(data)[..., 0].tolist() == [expected]


def test_thirty_two_bit_integers_run_over_the_whole_range() -> None:
    data = encoded(Image.fromarray(np.array([[-100, 0, 400]], np.int32)), "TIFF")
    assert read_image(data)[..., 0].tolist() == [[0, 51, 255]]


def test_thirty_two_bit_integers_that_would_fit_into_sixteen() -> None:
    data = encoded(Image.fromarray(np.array([[0, 21_000, 63_000]], np.int32)), "TIFF")
    assert read_image(data)[..., 0].tolist() == [[0, 85, 255]]
    sixteen = b"P5 3 1 65535\n" + np.array([0, 21_845, 63_000], ">u2").tobytes()
    assert read_image(sixteen)[..., 0].tolist() == [[0, 85, 245]]  # Pillow opens it as "I" too


def test_floats_that_are_not_numbers_are_refused() -> None:
    data = encoded(Image.fromarray(np.array([[0, np.nan]], np.float32)), "TIFF")
    with pytest.raises(ValueError, match=r"a.tif holds values that are NaN"):
        read_image(data, name="a.tif")


def test_the_first_frame_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
    for suffix in ("webp", "gif", "png"):
        save_animation(frames, tmp_path / f"a.{suffix}")
        assert read_image(tmp_path / f"a.{suffix}")[0, 0].tolist() == [255, 0, 0]


def test_a_size_crops_the_centre_square() -> None:
    wide = Image.fromarray(np.random.default_rng(0).integers(0, 256, (10, 30, 3), np.uint8))
    expected = np.asarray(wide.resize((15, 5), Image.Resampling.LANCZOS))[:, 5:10]
    assert np.array_equal(read_image(encoded(wide), size=5), expected)


def test_transparent_pixels_do_not_bleed_into_a_scaled_picture() -> None:
    pixels = np.zeros((8, 8, 4), np.uint8)  # clear black beside opaque white
    pixels[:, 4:] = 255
    small = read_image(encoded(Image.fromarray(pixels)), size=3)
    assert small.min() >= 254


def test_a_large_jpeg_scaled_while_decoding_is_near_the_plain_way() -> None:
    ramp = np.linspace(0, 255, 512).astype(np.uint8)
    picture = Image.fromarray(np.tile(ramp, (512, 1)))
    small = read_image(encoded(picture, "JPEG", quality=95), size=32)[..., 0].astype(int)
    plain = np.asarray(picture.resize((32, 32), Image.Resampling.LANCZOS)).astype(int)
    assert np.abs(small - plain).max() <= 2


def bad_files(folder: Path) -> dict[str, Path]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    png, jpeg = encoded(Image.fromarray(noise)), encoded(Image.fromarray(noise), "JPEG")
    contents = {
        "empty.png": b"",
        "text.png": b"this is a shopping list, not a picture",
        "short.png": png[: len(png) // 2],
        "short.jpg": jpeg[: len(jpeg) // 2],
        "header.png": png[:20],
        "flipped.png": png[:300] + bytes(200) + png[500:],
    }
    for name, data in contents.items():
        (folder / name).write_bytes(data)
    return {name: folder / name for name in contents}


def test_unusable_files_are_one_sentence_that_names_them(tmp_path: Path) -> None:
    said = {
        "empty.png": "is empty",
        "text.png": "is not a picture, despite its name",
        "short.png": "corrupt or truncated",
        "short.jpg": "corrupt or truncated",
        "header.png": "corrupt header",
        "flipped.png": "corrupt or truncated",
    }
    for name, path in bad_files(tmp_path).items():
        with pytest.raises(ValueError, match=f"{name}.*({said[name]})") as caught:
            read_image(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"no picture .*emty.png\. Did you mean 'empty.png'\?"):
        read_image(tmp_path / "emty.png")
    with pytest.raises(ValueError, match=r"is a folder; give a picture in it"):
        read_image(tmp_path)


def test_a_false_suffix_does_not_matter() -> None:
    assert read_image(encoded(Image.fromarray(RAMP), "BMP"), name="a.png").shape == (3, 4, 1)


def test_a_header_that_claims_too_much_is_refused_undecoded(tmp_path: Path) -> None:
    data = png_header(20_000, 20_000)
    assert len(data) < 50_000
    path = tmp_path / "huge.png"
    path.write_bytes(data)
    for reads in (read_image, picture_info):
        with pytest.raises(ValueError, match=r"huge.png claims more than 80 megapixels"):
            reads(path)
        with pytest.raises(ValueError, match=r"more than 80 megapixels"):
            reads(png_header(10_000, 10_000))  # above Pillow's warning
        with pytest.raises(ValueError, match=r"more than 1e-05 megapixels"):
            reads(encoded(Image.fromarray(RAMP)), max_pixels=10)


def test_pillow_is_left_as_it_was(tmp_path: Path) -> None:
    before = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    for path in bad_files(tmp_path).values():
        with pytest.raises(ValueError, match=path.name):
            read_image(path)
    after = ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS
    assert after == before


def test_an_unknown_colour_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no colour 'whit'.*Did you mean 'white'"):
        read_image(encoded(Image.fromarray(RAMP)), background="whit")


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_level_survives_the_round_trip(channels: int) -> None:
    levels = torch.arange(256).float().div(127.5).sub(1).reshape(1, 16, 16)
    x = levels.repeat(channels, 1, 1)
    picture = to_picture(x)
    assert picture.mode == {1: "L", 3: "RGB", 4: "RGBA"}[channels]
    assert torch.equal(from_picture(picture, channels=channels), x)


def test_values_beyond_the_range_are_clamped() -> None:
    picture = to_picture(torch.tensor([[[-5.0, 5.0]]]))
    assert np.asarray(picture).tolist() == [[0, 255]]


def test_what_is_no_picture_is_refused() -> None:
    with pytest.raises(ValueError, match=r"1, 3 or 4 channels.*choose the channels"):
        to_picture(torch.zeros(12, 8, 8))
    with pytest.raises(ValueError, match=r"NaN"):
        to_picture(torch.full((1, 2, 2), torch.nan))


def test_a_grid_is_near_square_with_white_between() -> None:
    x = torch.linspace(-1, 0.5, 5).view(5, 1, 1, 1).expand(5, 1, 4, 4)
    pixels = np.asarray(sheet(x, pad=1))
    assert pixels.shape == (9, 14)  # 3 columns, 2 rows
    assert pixels[0, 0] == 0 and pixels[5, 5] == 191
    assert (
        (pixels[4] == 255).all() and (pixels[:, 4] == 255).all() and (pixels[5:, 10:] == 255).all()
    )
    assert sheet(x, columns=2, pad=0).size == (8, 12)
    assert strip(x, pad=0, scale=3).size == (60, 12)


@pytest.mark.parametrize("options", [{"columns": 0}, {"pad": -1}, {"scale": 0}])
def test_a_grid_of_nonsense_is_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"a sheet needs"):
        sheet(torch.zeros(2, 1, 4, 4), **options)


def test_an_empty_grid_is_refused() -> None:
    with pytest.raises(ValueError, match=r"B > 0"):
        strip(torch.zeros(0, 1, 4, 4))


@pytest.mark.parametrize("suffix", ["png", "webp", "bmp", "tiff", "PNG"])
def test_lossless_formats_read_back_equal(tmp_path: Path, suffix: str) -> None:
    x = torch.rand(3, 9, 7).mul(2).sub(1)
    path = tmp_path / f"a.{suffix}"
    save_image(to_picture(x), path)
    assert np.array_equal(read_image(path), np.asarray(to_picture(x)))
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_formats_that_cannot_be_written_are_said(tmp_path: Path) -> None:
    picture = to_picture(torch.zeros(4, 2, 2))
    with pytest.raises(ValueError, match=r"no picture format '.pgn'.*Did you mean '.png'"):
        save_image(picture, tmp_path / "a.pgn")
    with pytest.raises(ValueError, match=r"a.jpg cannot hold transparency; use .png"):
        save_image(picture, tmp_path / "a.jpg")
    with pytest.raises(ValueError, match=r"no animation format '.jpg'"):
        save_animation([picture], tmp_path / "a.jpg")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["webp", "png"])
def test_an_animation_is_lossless_and_keeps_time(tmp_path: Path, suffix: str) -> None:
    frames = [to_picture(torch.rand(3, 8, 8).mul(2).sub(1)) for _ in range(4)]
    path = tmp_path / f"a.{suffix}"
    save_animation(frames, path, fps=20)
    with Image.open(path) as animation:
        assert animation.n_frames == 4  # type: ignore[attr-defined]
        for i, frame in enumerate(frames):
            animation.seek(i)
            animation.load()
            assert animation.info["duration"] == 50
            assert np.array_equal(np.asarray(animation.convert("RGB")), np.asarray(frame))


def test_animations_of_nothing_or_of_unequal_frames_are_refused(tmp_path: Path) -> None:
    a, b = Image.new("L", (2, 2)), Image.new("L", (3, 2))
    for frames in ([], [a, b]):
        with pytest.raises(ValueError, match=r"frame, all of the same size"):
            save_animation(frames, tmp_path / "a.webp")
    with pytest.raises(ValueError, match=r"fps"):
        save_animation([a], tmp_path / "a.webp", fps=0)


def test_a_sheet_that_no_memory_holds_is_refused() -> None:
    with pytest.raises(ValueError, match=r"400000x400000 pixels.*smaller scale"):
        sheet(torch.zeros(1, 1, 4, 4), scale=100_000)
