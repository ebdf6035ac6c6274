"""Arrays as series: which ones, in which layout, and by which scale."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inkdrop.data import dataset
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.open import open_data

RNG = np.random.default_rng(0)


def opened(folder: Path, array: NDArray[Any], **options: Any) -> Dataset:
    np.save(folder / "a.npy", array)
    return open_data(folder / "a.npy", **options)


@pytest.mark.parametrize(
    ("shape", "asked", "axes"),
    [
        ((6, 1, 32), None, (0, 1, 2)),
        ((6, 4, 5), None, (0, 1, 2)),
        ((6, 32), "series", None),
        ((6, 8, 32), "series", (0, 1, 2)),
        ((6, 32, 3), "series", (0, 2, 1)),
        ((6, 3, 32), "series", (0, 1, 2)),
        ((6, 3, 3), "series", (0, 1, 2)),
    ],
)
def test_layouts(
    tmp_path: Path, shape: tuple[int, ...], asked: str | None, axes: tuple[int, ...] | None
) -> None:
    array = RNG.uniform(-1, 1, shape)
    array.flat[0] = 1  # so that the values are as they are
    data = opened(tmp_path, array, medium=asked)
    expected = array[:, None] if axes is None else array.transpose(axes)
    assert data.medium == "series"
    assert data.shape == expected.shape[1:]
    assert len(data) == 6
    assert np.allclose(data.take(range(6)), expected, atol=1e-6)
    assert f"{list(shape)} is read as [N, " in data.notes[0]


def test_flat_arrays_and_channels_last_are_read_only_where_asked(tmp_path: Path) -> None:
    for shape in ((6, 32), (6, 32, 3)):
        with pytest.raises(ValueError, match="medium='series'"):
            opened(tmp_path, RNG.uniform(-1, 1, shape))
    assert opened(tmp_path, RNG.uniform(-1, 1, (6, 8, 32))).medium == "picture"
    assert opened(tmp_path, RNG.uniform(-1, 1, (6, 3, 32)), medium="picture").medium == "picture"


@pytest.mark.parametrize(
    ("low", "high", "span"),
    [(-3, 5, (-5, 5)), (-7, 2, (-7, 7)), (0, 4, (0, 4)), (2, 4, (2, 4)), (-9, -1, (-9, -1))],
)
def test_the_span_is_around_zero_where_there_are_both_signs(
    tmp_path: Path, low: float, high: float, span: tuple[float, float]
) -> None:
    array = RNG.uniform(low, high, (4, 1, 16))
    array[0, 0, :2] = low, high
    data = opened(tmp_path, array)
    assert data.span == span
    assert np.allclose(data.take(range(4)), np.interp(array, span, [-1, 1]), atol=1e-6)
    assert f"values from {span[0]:g} to {span[1]:g} become -1 to 1" in data.notes[0]


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.int16, np.int64, np.float16, np.bool_])
def test_every_kind_of_number_is_scaled_by_its_own_values(tmp_path: Path, kind: Any) -> None:
    array = np.broadcast_to(np.arange(8) % 3, (3, 1, 8)).astype(kind)
    data = opened(tmp_path, array)
    low, high = float(array.min()), float(array.max())
    assert data.span == (low, high)
    values = data.take(range(3))
    assert values.dtype == torch.float32
    assert np.allclose(values, np.interp(array.astype(float), [low, high], [-1, 1]), atol=1e-6)


@pytest.mark.parametrize("far", [np.float64(1e9), np.int64(10**12)])
def test_values_far_from_zero_keep_their_differences(tmp_path: Path, far: Any) -> None:
    steps = np.broadcast_to(np.arange(9), (2, 1, 9))
    data = opened(tmp_path, far + steps)
    assert np.allclose(data.take([0, 1]), steps / 4 - 1, atol=1e-5)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((4, 1, 8), 2.5), "all values of a.npy are 2.5, so there is nothing to learn"),
        (np.full((4, 1, 8), np.nan), "NaN or infinite; replace them first"),
        (np.array([[[-1e308, 1e308, 2, 3, 4]]]), "divide them"),
        (np.array([[[1, np.inf, 2, 3, 4]]]), "NaN or infinite; replace them first"),
        (np.zeros((4, 1, 8), complex), "complex128 instead of real numbers"),
        (np.zeros((4, 1, 8, 8)), r"\[4, 1, 8, 8\]; series must be \[N, L\] or \[N, C, L\]"),
        (np.zeros((0, 1, 8)), r"\[0, 1, 8\]; series must be"),
    ],
)
def test_what_is_no_series_is_refused(tmp_path: Path, array: NDArray[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as error:
        opened(tmp_path, array, medium="series")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("option", [{"size": 8}, {"channels": 1}])
def test_options_of_pictures_are_refused(tmp_path: Path, option: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=f"no choice of {next(iter(option))}; leave out"):
        opened(tmp_path, RNG.uniform(-1, 1, (4, 1, 8)), **option)


def test_labels_are_read_from_the_same_file(tmp_path: Path) -> None:
    labels = np.array(["slow", "fast", "slow", "slow"])
    np.savez(tmp_path / "a.npz", x=RNG.uniform(-1, 1, (4, 2, 16)), y=labels)
    data = open_data(tmp_path / "a.npz")
    assert data.label_names == ("fast", "slow")
    assert data.labels is not None
    assert [data.label_names[i] for i in data.labels] == labels.tolist()
    assert data.describe() == "a.npz: 4 series, 16 values in 2 channels, 2 labels (fast, slow)"
    np.savez(tmp_path / "b.npz", x=RNG.uniform(-1, 1, (4, 2, 16)), y=labels[:3])
    with pytest.raises(ValueError, match="4 samples but 3 labels"):
        open_data(tmp_path / "b.npz")


def test_flat_series_of_an_npz_are_found_beside_their_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", x=RNG.uniform(-1, 1, (4, 16)), y=np.arange(4))
    assert open_data(tmp_path / "a.npz", medium="series").shape == (1, 16)


def test_the_fingerprint_tells_series_from_pictures_and_from_other_series(tmp_path: Path) -> None:
    array = RNG.integers(0, 256, (4, 3, 16), np.uint8)
    array.flat[:2] = 0, 255  # the same scale as pictures have
    series = opened(tmp_path, array)
    pictures = opened(tmp_path, array, medium="picture")
    assert (series.medium, pictures.medium) == ("series", "picture")
    assert series.fingerprint != pictures.fingerprint
    assert opened(tmp_path, array).fingerprint == series.fingerprint
    assert opened(tmp_path, array[:, ::-1]).fingerprint != series.fingerprint
    labelled = tmp_path / "b.npz"
    np.savez(labelled, x=array, y=np.arange(4))
    assert open_data(labelled).fingerprint != series.fingerprint


def test_a_subset_keeps_medium_and_span(tmp_path: Path) -> None:
    data = opened(tmp_path, RNG.uniform(-3, 2, (6, 1, 16)))
    part = data.subset([4, 1])
    assert (part.medium, part.span, len(part)) == ("series", data.span, 2)
    assert torch.equal(part.take([0]), data.take([4]))


def test_large_files_stay_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = RNG.uniform(-1, 1, (6, 32, 2)).astype(np.float32)
    small = opened(tmp_path, array, medium="series")
    monkeypatch.setattr(dataset, "CACHE_BYTES", 100)
    large = opened(tmp_path, array, medium="series")
    for data, mapped in ((small, False), (large, True)):
        assert isinstance(data.store, ArrayStore)
        assert isinstance(data.store.array, np.memmap) == mapped
    assert torch.equal(small.take(range(6)), large.take(range(6)))
    assert small.fingerprint == large.fingerprint
