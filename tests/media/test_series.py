"""Series read from arrays, written as arrays and sheets, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image

from inkdrop.media.medium import PLAIN, UNIT, Look
from inkdrop.media.series import HEIGHT, INKS, WIDTH, Series
from inkdrop.media.settings import settings_in

SERIES = Series()
RNG = np.random.default_rng(0)


def saved(folder: Path, values: NDArray[Any]) -> Path:
    np.save(folder / "a.npy", values)
    return folder / "a.npy"


def dark(picture: Image.Image, ink: tuple[int, int, int] = INKS[0]) -> NDArray[np.bool_]:
    """Where a picture has the ink of a channel."""
    pixels = np.asarray(picture).astype(int)
    found: NDArray[np.bool_] = np.abs(pixels - ink).max(-1) < 60
    return found


@pytest.mark.parametrize("shape", [(9,), (1, 9), (1, 1, 9)])
def test_one_channel_may_come_without_its_axes(tmp_path: Path, shape: tuple[int, ...]) -> None:
    values = RNG.uniform(-1, 1, 9)
    read = SERIES.read(saved(tmp_path, values.reshape(shape)), (1, 9), UNIT)
    assert read.dtype == torch.float32
    assert np.allclose(read, values[None], atol=1e-6)


def test_of_a_longer_array_the_middle_is_taken(tmp_path: Path) -> None:
    values = RNG.uniform(-1, 1, (3, 11))
    read = SERIES.read(saved(tmp_path, values), (3, 4), UNIT)
    assert np.allclose(read, values[:, 3:7], atol=1e-6)


@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int16, np.uint8, np.bool_])
def test_values_are_scaled_by_the_span(tmp_path: Path, kind: type[np.generic]) -> None:
    values = RNG.integers(0, 100, (2, 8)).astype(kind)
    read = SERIES.read(saved(tmp_path, values), (2, 8), (-20.0, 100.0))
    expected = np.interp(values.astype(float), [-20, 100], [-1, 1])
    assert np.allclose(read, expected, atol=1e-6)


def test_values_far_from_zero_keep_their_differences(tmp_path: Path) -> None:
    values = 1e9 + np.linspace(0, 1, 5)[None]
    read = SERIES.read(saved(tmp_path, values), (1, 5), (1e9, 1e9 + 1))
    assert np.allclose(read, [np.linspace(-1, 1, 5)], atol=1e-6)


@pytest.mark.parametrize("suffix", [".npy", ".npz"])
def test_what_is_written_as_an_array_is_read_again(tmp_path: Path, suffix: str) -> None:
    x, path, span = torch.rand(1, 2, 16) * 2 - 1, tmp_path / f"a{suffix}", (-3.0, 5.0)
    SERIES.write(x, path, {"seed": 7, "steps": 20}, PLAIN, span)
    assert torch.allclose(SERIES.read(path, (2, 16), span), x[0], atol=1e-6)
    found = np.load(path)
    values = found if suffix == ".npy" else found["samples"]
    assert np.allclose(values, (x.numpy() + 1) * 4 - 3, atol=1e-5)
    if suffix == ".npz":
        assert SERIES.settings(path) == {"seed": 7, "steps": 20}


def test_settings_are_in_a_png_too_and_a_file_without_any_is_refused(tmp_path: Path) -> None:
    x = torch.zeros(1, 1, 16)
    SERIES.write(x, tmp_path / "a.png", {"seed": 7}, PLAIN, UNIT)
    assert SERIES.settings(tmp_path / "a.png")["seed"] == 7
    SERIES.write(x, tmp_path / "none.npz", None, PLAIN, UNIT)
    np.savez(tmp_path / "strange.npz", settings=np.arange(3))
    np.save(tmp_path / "array.npy", np.zeros(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04 and nothing else")
    for name in ("none", "strange", "array", "cut"):
        with pytest.raises(ValueError, match=rf"{name}.npz holds no settings"):
            SERIES.settings(tmp_path / f"{name}.npz")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.array([[1.0, np.nan, 2.0, 3.0]]), "NaN or infinite; replace them"),
        (np.array([[1.0, np.inf, 2.0, 3.0]]), "NaN or infinite; replace them"),
        (np.zeros((2, 4)), r"an array \[2, 4\], but the model takes \[1, 4\] or longer"),
        (np.zeros((1, 3)), r"an array \[1, 3\], but the model takes \[1, 4\]"),
        (np.zeros((2, 1, 4)), r"an array \[2, 1, 4\], but the model takes"),
        (np.zeros(()), r"an array \[\], but the model takes"),
        (np.zeros((1, 4), complex), "complex128 instead of real numbers"),
        (np.array([["a", "b"]]), "instead of real numbers"),
    ],
)
def test_what_is_not_a_series_is_refused(tmp_path: Path, values: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        SERIES.read(saved(tmp_path, values), (1, 4), UNIT)
    assert str(tmp_path / "a.npy") in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "content", [b"", b"some words", b"PK\x03\x04 and nothing else", b"\x93NUMPY\x01\x00v"]
)
def test_files_that_hold_no_array_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.npz"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"a.npz cannot be read as a series; save it again"):
        SERIES.read(path, (1, 4), UNIT)


def test_pickles_and_several_arrays_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], object), allow_pickle=True)
    with pytest.raises(ValueError, match="cannot be read as a series"):
        SERIES.read(tmp_path / "a.npy", (1, 4), UNIT)
    np.savez(tmp_path / "b.npz", x=np.zeros(4), y=np.zeros(4))
    with pytest.raises(ValueError, match="holds 2 arrays of numbers instead of one"):
        SERIES.read(tmp_path / "b.npz", (1, 4), UNIT)
    with pytest.raises(ValueError, match=r"there is no series .*c.npy"):
        SERIES.read(tmp_path / "c.npy", (1, 4), UNIT)


def test_a_sheet_has_a_cell_for_each_sample() -> None:
    x = torch.zeros(8, 1, 16)
    assert SERIES.sheet(x[:1]).size == (WIDTH, HEIGHT)
    assert SERIES.sheet(x).size == (2 * WIDTH + 2, 4 * HEIGHT + 6)
    assert SERIES.sheet(x, Look(columns=8, scale=2, pad=0)).size == (16 * WIDTH, 2 * HEIGHT)


@pytest.mark.parametrize("value", [1.0, 0.0, -1.0])
def test_a_constant_is_drawn_at_its_height(value: float) -> None:
    rows, columns = np.nonzero(dark(SERIES.sheet(torch.full((1, 1, 16), value))))
    expected = {1.0: 0.06, 0.0: 0.5, -1.0: 0.94}[value] * HEIGHT
    assert rows.mean() == pytest.approx(expected, abs=1)
    assert rows.max() - rows.min() <= 2
    assert columns.max() - columns.min() > 0.85 * WIDTH


def test_curves_of_neighbouring_cells_do_not_meet() -> None:
    ink = dark(SERIES.sheet(torch.rand(2, 1, 64) * 2 - 1, Look(columns=2))).any(0)
    between = ink[WIDTH - 6 : WIDTH + 8]
    assert not between.any()
    assert ink[: WIDTH - 6].any()
    assert ink[WIDTH + 8 :].any()


def test_channels_have_their_own_inks_and_one_value_is_a_point() -> None:
    both = torch.stack([torch.full((16,), 0.8), torch.full((16,), -0.8)])
    picture = SERIES.sheet(both[None])
    assert np.nonzero(dark(picture, INKS[0]))[0].max() < HEIGHT / 2
    assert np.nonzero(dark(picture, INKS[1]))[0].min() > HEIGHT / 2
    rows, columns = np.nonzero(dark(SERIES.sheet(torch.full((1, 1, 1), 0.5))))
    assert 0 < len(rows) < 30
    assert columns.mean() == pytest.approx(WIDTH / 2, abs=1)


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(ValueError, match=r"series takes \[B, C, L\] with B > 0, not \[1, 16\]"):
        SERIES.sheet(torch.zeros(1, 16))
    with pytest.raises(ValueError, match="with NaN or infinite values"):
        SERIES.sheet(torch.full((1, 1, 4), torch.nan))


def test_shapes_in_words() -> None:
    assert SERIES.describe((1, 256)) == "256 values"
    assert SERIES.describe((3, 256)) == "256 values in 3 channels"


@pytest.mark.parametrize("span", [(1e12, 1e12 + 8), (-4e299, 4e299), (-1e-300, 1e-300)])
def test_values_that_float32_would_lose_are_written_as_float64(
    tmp_path: Path, span: tuple[float, float]
) -> None:
    x = torch.linspace(-1, 1, 9)[None, None]
    SERIES.write(x, tmp_path / "a.npy", None, Look(), span)
    found = np.load(tmp_path / "a.npy")
    assert found.dtype == np.float64
    assert np.allclose(np.diff(found), (span[1] - span[0]) / 8, rtol=1e-6, atol=0)
    assert torch.allclose(SERIES.read(tmp_path / "a.npy", (1, 9), span), x[0], atol=1e-4)


@pytest.mark.parametrize("text", ["[]", "5", "null", '[["count", 2]]'])
def test_settings_are_an_object(tmp_path: Path, text: str) -> None:
    np.savez(tmp_path / "a.npz", samples=np.zeros(2), settings=np.array(text))
    with pytest.raises(ValueError, match="holds no settings"):
        settings_in(tmp_path / "a.npz")
