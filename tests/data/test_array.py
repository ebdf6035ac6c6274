"""Arrays in every layout and range; what cannot be understood is refused in words."""

from __future__ import annotations

import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from inkdrop.data import dataset
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data

RNG = np.random.default_rng(0)


def opened(folder: Path, array: NDArray[Any], **options: Any) -> Dataset:
    np.save(folder / "a.npy", array)
    return open_data(folder / "a.npy", **options)


def integers(*shape: int) -> NDArray[np.uint8]:
    return RNG.integers(0, 256, shape, np.uint8)


@pytest.mark.parametrize(
    ("shape", "axes"),
    [
        ((5, 8, 9), None),
        ((5, 8, 9, 3), (0, 3, 1, 2)),
        ((5, 3, 8, 9), (0, 1, 2, 3)),
        ((5, 12, 16, 16), (0, 1, 2, 3)),
        ((5, 16, 16, 12), (0, 3, 1, 2)),
        ((5, 1, 8, 8), (0, 1, 2, 3)),
        ((5, 8, 8, 8), (0, 1, 2, 3)),
        ((5, 2, 8, 3), (0, 1, 2, 3)),
    ],
)
def test_layouts(tmp_path: Path, shape: tuple[int, ...], axes: tuple[int, ...] | None) -> None:
    array = integers(*shape)
    data = opened(tmp_path, array)
    expected = array[:, None] if axes is None else array.transpose(axes)
    assert data.shape == expected.shape[1:] and len(data) == 5
    assert np.allclose(data.take(range(5)).numpy(), expected / 127.5 - 1, atol=1e-6)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([0, 255, 51], np.uint8), [-1, 1, -0.6]),
        (np.array([0, 65535, 13107], np.uint16), [-1, 1, -0.6]),
        (np.array([False, True, True]), [-1, 1, 1]),
        (np.array([0, 1, 0.2], np.float64), [-1, 1, -0.6]),
        (np.array([0, 1, 0.25], np.float16), [-1, 1, -0.5]),
        (np.array([-0.5, 0.125, 1], np.float32), [-0.5, 0.125, 1]),
    ],
)
def test_ranges(tmp_path: Path, values: NDArray[Any], expected: list[float]) -> None:
    array = np.broadcast_to(values[:, None, None], (3, 8, 8))
    pixels = opened(tmp_path, array).take(range(3))
    assert pixels.dtype == torch.float32
    assert torch.allclose(
        pixels[:, 0, 0, 0], torch.tensor(expected, dtype=torch.float32), atol=1e-6
    )


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.zeros((4, 8, 8), np.int64), "int64, whose range is unknown; convert it to uint8"),
        (np.full((4, 8, 8), 255.0), "floats from 255 to 255; scale them"),
        (np.full((4, 8, 8), -2.0), "scale them"),
        (np.full((4, 8, 8), np.nan), "NaN"),
        (np.zeros((64, 64, 3), np.uint8), "a single picture; a data set is"),
        (np.zeros((4, 784), np.uint8), r"\[4, 784\]; pictures must be"),
        (np.zeros((2, 3, 4, 8, 8), np.uint8), "pictures must be"),
        (np.zeros((0, 8, 8), np.uint8), "holds no pictures"),
        (np.array([[1], "two"], object), "pictures of unequal shapes"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, array: NDArray[Any], said: str) -> None:
    with pytest.raises(ValueError, match=said) as caught:
        opened(tmp_path, array)
    assert "a.npy" in str(caught.value) and "\n" not in str(caught.value)


def test_broken_files_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "whole.npy", integers(4, 8, 8))
    np.savez(tmp_path / "whole.npz", integers(4, 8, 8))
    for name in ("whole.npy", "whole.npz"):
        broken = tmp_path / name.replace("whole", "short")
        broken.write_bytes((tmp_path / name).read_bytes()[:-100])
        with pytest.raises(ValueError, match=r"short.np. is corrupt or truncated"):
            open_data(broken)
    (tmp_path / "empty.npy").write_bytes(b"")
    with pytest.raises(ValueError, match=r"empty.npy is empty"):
        open_data(tmp_path / "empty.npy")
    (tmp_path / "text.npz").write_text("hello there")
    with pytest.raises(ValueError, match=r"text.npz is not a NumPy file"):
        open_data(tmp_path / "text.npz")


def test_an_npz_with_labels(tmp_path: Path) -> None:
    images = integers(4, 8, 8, 3)
    for keys in (("images", "labels"), ("x", "y"), ("data", "label"), ("cats", "y")):
        arrays = {keys[0]: images, keys[1]: np.array([5, 2, 5, 9])}
        np.savez(tmp_path / "a.npz", allow_pickle=False, **arrays)
        data = open_data(tmp_path / "a.npz")
        assert data.labels is not None and data.labels.tolist() == [1, 0, 1, 2]
        assert data.label_names == ("2", "5", "9")
    np.savez(tmp_path / "a.npz", images, np.array(["b", "a", "a", "b"]))
    assert open_data(tmp_path / "a.npz").label_names == ("a", "b")


def test_keys_can_be_named(tmp_path: Path) -> None:
    small, large = integers(4, 8, 8), integers(4, 16, 16)
    np.savez(tmp_path / "a.npz", small=small, large=large, kind=[0, 1, 0, 1])
    with pytest.raises(ValueError, match=r"2 arrays that could be pictures"):
        open_data(tmp_path / "a.npz")
    data = open_data(tmp_path / "a.npz", image="large", label="kind")
    assert data.shape == (1, 16, 16) and data.label_names == ("0", "1")
    with pytest.raises(ValueError, match=r"no array 'larg'.*Did you mean 'large'"):
        open_data(tmp_path / "a.npz", image="larg")
    with pytest.raises(ValueError, match=r"no array 'kinds'.*Did you mean 'kind'"):
        open_data(tmp_path / "a.npz", image="large", label="kinds")


@pytest.mark.parametrize("name", ["{part}_{kind}", "{kind}_{part}"])
def test_one_part_of_divided_arrays_is_read(tmp_path: Path, name: str) -> None:
    counts = {"test": 3, "val": 2, "train": 4}
    arrays = {}
    for part, count in counts.items():
        arrays[name.format(part=part, kind="images")] = integers(count, 8, 8, 3)
        arrays[name.format(part=part, kind="labels")] = np.arange(count)[:, None] % 2
    np.savez(tmp_path / "a.npz", allow_pickle=False, **arrays)
    data = open_data(tmp_path / "a.npz")
    assert len(data) == 4 and any(note.startswith("the part train is read") for note in data.notes)
    for part, count in counts.items():
        image = name.format(part=part, kind="images")
        for options in ({"split": part}, {"image": image}, {"split": part, "image": image}):
            data = open_data(tmp_path / "a.npz", **options)  # type: ignore[arg-type]
            assert data.labels is not None and len(data) == len(data.labels) == count
    with pytest.raises(ValueError, match=r"no split 'tst'.*Did you mean 'test'"):
        open_data(tmp_path / "a.npz", split="tst")
    with pytest.raises(ValueError, match=r"not of the part 'val'; leave one"):
        open_data(tmp_path / "a.npz", split="val", image=name.format(part="test", kind="images"))


def test_arrays_of_numbers_do_not_divide_pictures(tmp_path: Path) -> None:
    arrays = {"images": integers(4, 8, 8), "labels": np.arange(4)}
    np.savez(tmp_path / "a.npz", **arrays, train_rows=np.arange(3), test_rows=np.arange(1))
    data = open_data(tmp_path / "a.npz")
    assert len(data) == 4 and data.label_names == ("0", "1", "2", "3")
    with pytest.raises(ValueError, match=r"no choice of split"):
        open_data(tmp_path / "a.npz", split="train")


def test_several_classes_of_a_sample_are_told_and_not_read(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=integers(3, 8, 8), labels=[[1, 1], [0, 1], [0, 0]])
    data = open_data(tmp_path / "a.npz")
    assert data.labels is None
    assert any("labels [3, 2] has no single class for a sample" in note for note in data.notes)
    with pytest.raises(ValueError, match=r"not \[3, 2\]; a sample has one class"):
        open_data(tmp_path / "a.npz", label="labels")


def test_pictures_saved_one_by_one_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", integers(8, 8, 1), integers(8, 8, 3))
    with pytest.raises(
        ValueError, match=r"arr_1 \[8, 8, 3\]\).*of a single size and channel count"
    ):
        open_data(tmp_path / "a.npz")


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", images=integers(4, 8, 8), labels=[0, 1])
    with pytest.raises(ValueError, match=r"4 samples but 2 labels"):
        open_data(tmp_path / "a.npz")


def test_labels_in_the_file_beside(tmp_path: Path) -> None:
    np.savez(tmp_path / "test-imgs.npz", integers(3, 8, 8))
    np.savez(tmp_path / "test-labels.npz", np.array([2, 1, 0]))
    data = open_data(tmp_path)  # the only data file in the folder
    assert data.labels is not None and data.labels.tolist() == [2, 1, 0]
    assert any("test-labels.npz" in note for note in data.notes)


def test_channels_as_asked(tmp_path: Path) -> None:
    grey = opened(tmp_path, integers(2, 8, 8), channels=3)
    assert grey.shape == (3, 8, 8)
    assert torch.equal(grey.take([0])[:, 0], grey.take([0])[:, 2])
    white = opened(tmp_path, np.full((2, 8, 8, 3), 255, np.uint8), channels=1)
    assert white.shape == (1, 8, 8) and (white.take([0]) == 1).all()
    with pytest.raises(ValueError, match=r"12 channels, which cannot be converted to 3"):
        opened(tmp_path, integers(2, 12, 16, 16), channels=3)


@pytest.mark.parametrize("kind", [np.uint8, np.float32])
def test_a_size_keeps_any_channel_count(tmp_path: Path, kind: type) -> None:
    levels: NDArray[Any] = np.array(
        [0, 50, 100, 150, 200] if kind is np.uint8 else [-1, -0.5, 0, 0.5, 1], kind
    )
    array = np.broadcast_to(levels[:, None, None], (2, 5, 12, 20))
    data = opened(tmp_path, array, size=6)
    assert data.shape == (5, 6, 6)
    native = opened(tmp_path, array).take([0])[:, :, :6, :6]
    assert torch.allclose(data.take([0]), native, atol=1e-6)


def test_large_arrays_stay_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    array = integers(6, 8, 9, 3)
    small = opened(tmp_path, array)
    monkeypatch.setattr(dataset, "CACHE_BYTES", 100)
    large = open_data(tmp_path / "a.npy")
    assert isinstance(getattr(large.store, "array"), np.memmap)  # noqa: B009
    assert torch.equal(large.take([3, 1]), small.take([3, 1]))
    assert large.fingerprint == small.fingerprint


def test_the_fingerprint_is_of_content_and_options(tmp_path: Path) -> None:
    array = integers(4, 8, 8)
    first = opened(tmp_path, array).fingerprint
    (tmp_path / "b").mkdir()
    assert opened(tmp_path / "b", array).fingerprint == first
    assert opened(tmp_path, array, size=4).fingerprint != first
    array[3, 7, 7] ^= 1
    assert opened(tmp_path, array).fingerprint != first


PICTURES = np.arange(3 * 64, dtype=np.uint8).reshape(3, 8, 8)


def zip_of(path: Path, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name.replace("__", "."), data)
    return path


def npy(array: Any) -> bytes:
    memory = BytesIO()
    np.save(memory, array, allow_pickle=True)
    return memory.getvalue()


def test_members_that_are_no_arrays_are_left(tmp_path: Path) -> None:
    path = zip_of(
        tmp_path / "a.npz", images__npy=npy(PICTURES), readme__txt=b"about", x__npy=b"text"
    )
    assert len(open_data(path)) == 3
    path = zip_of(tmp_path / "a.npz", data__pkl=b"\x80\x02}q\x00.", version=b"3\n")
    with pytest.raises(ValueError, match=r"a.npz is a zip without a NumPy array \(a PyTorch file"):
        open_data(path)


def test_an_array_that_is_not_used_may_be_anything(tmp_path: Path) -> None:
    words, objects = npy(np.array(["a", "b"])), npy(np.array([{}, 1], object))
    path = zip_of(tmp_path / "a.npz", images__npy=npy(PICTURES), words__npy=words, o__npy=objects)
    assert len(open_data(path)) == 3
    with pytest.raises(ValueError, match=r"o.npy in a.npz holds Python objects"):
        open_data(path, image="o")


def test_extended_precision_and_other_byte_orders(tmp_path: Path) -> None:
    values = np.linspace(0, 1, 192).reshape(3, 8, 8)
    np.save(tmp_path / "plain.npy", values)
    expected = open_data(tmp_path / "plain.npy").take(range(3))
    for kind in (np.longdouble, ">f8", ">f4", np.float16):
        np.save(tmp_path / "a.npy", values.astype(kind))
        assert torch.allclose(open_data(tmp_path / "a.npy").take(range(3)), expected, atol=2e-3)
    np.save(tmp_path / "a.npy", (PICTURES.astype(np.uint16) * 257).astype(">u2"))
    np.save(tmp_path / "b.npy", PICTURES)
    for size in (None, 4):
        a, b = (open_data(tmp_path / f"{n}.npy", size=size).take(range(3)) for n in "ab")
        assert torch.allclose(a, b, atol=0.02)
    np.save(tmp_path / "s.npy", np.linspace(-1, 1, 64).reshape(4, 1, 16).astype(np.longdouble))
    assert open_data(tmp_path / "s.npy").medium == "series"


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (-3, 8, 8)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (9999999999999, 99999999, 99999999)}",
        b"{'descr': '|u1', 'fortran_order': False, 'shape': (" + b"(" * 900,
        b"{'descr': 'nonsense', 'fortran_order': False, 'shape': (3,)}",
        b"[1, 2",
        b"\xff\xfe",
    ],
)
def test_headers_that_claim_nonsense(tmp_path: Path, header: bytes) -> None:
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(200)
    (tmp_path / "a.npy").write_bytes(data)
    for path in (tmp_path / "a.npy", zip_of(tmp_path / "a.npz", images__npy=data)):
        with pytest.raises(ValueError, match=r"a\.np[yz] (is corrupt|claims)") as caught:
            open_data(path)
        assert "\n" not in str(caught.value)


def test_an_array_that_unpacks_to_too_much_is_refused_unread(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "a.npz", images=np.zeros((30, 1000, 1000), np.uint8))
    said = r"a.npz takes 0.0 GiB .* more than the 0.01 GiB allowed; .* --max-gib 1 \(max_gib=1\)"
    with pytest.raises(ValueError, match=said):
        open_data(tmp_path / "a.npz", max_gib=0.01)
    assert len(open_data(tmp_path / "a.npz", size=4)) == 30
    header = b"{'descr': '|u1', 'fortran_order': False, 'shape': (99, 9999, 999999)}"
    data = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with pytest.raises(ValueError, match=r"a.npz takes 921.9 GiB once it is unpacked"):
        open_data(zip_of(tmp_path / "a.npz", images__npy=data))


def test_captions_in_an_array_of_words(tmp_path: Path) -> None:
    words = np.array(["a", "", "c"])
    np.savez(tmp_path / "a.npz", images=PICTURES, captions=words, x_test=PICTURES)
    data = open_data(tmp_path / "a.npz")
    assert data.captions == ("a", "", "c") and data.notes == (
        "the array x_test is not read; --caption, --label and --image choose arrays",
        "1 of 3 captions is empty: sample 1",
    )
    np.savez(tmp_path / "b.npz", images=PICTURES, poem=words)
    plain = open_data(tmp_path / "b.npz")
    assert plain.captions is None and "--caption 'poem'" in plain.notes[-1]
    told = open_data(tmp_path / "b.npz", caption="poem")
    assert told.captions == data.captions and told.fingerprint != plain.fingerprint
    np.savez(tmp_path / "c.npz", images=PICTURES, captions=words[:2])
    with pytest.raises(ValueError, match=r"3 samples but 2 captions"):
        open_data(tmp_path / "c.npz")
