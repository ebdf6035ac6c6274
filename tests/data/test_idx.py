"""IDX files written by hand from the format's description."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from inkdrop.data.idx import read_idx
from inkdrop.data.open import open_data


def idx(array: NDArray[Any], code: int = 8) -> bytes:
    header = struct.pack(f">BBBB{array.ndim}I", 0, 0, code, array.ndim, *array.shape)
    return header + array.tobytes()


IMAGES = np.random.default_rng(0).integers(0, 256, (5, 4, 6), np.uint8)
LABELS = np.array([3, 0, 1, 2, 2], np.uint8)


def write(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


def test_a_folder_is_its_train_part_unless_asked(tmp_path: Path) -> None:
    write(tmp_path, "train-images-idx3-ubyte.gz", idx(IMAGES))
    write(tmp_path, "train-labels-idx1-ubyte.gz", idx(LABELS))
    write(tmp_path, "t10k-images-idx3-ubyte", idx(IMAGES[:2]))
    write(tmp_path, "t10k-labels-idx1-ubyte", idx(LABELS[:2]))
    train, test = open_data(tmp_path), open_data(tmp_path, split="test")
    assert (len(train), len(test), train.shape) == (5, 2, (1, 4, 6))
    assert train.labels is not None and train.labels.tolist() == LABELS.tolist()
    assert np.allclose(train.take(range(5))[:, 0], IMAGES / 127.5 - 1, atol=1e-6)
    assert any("split='test'" in note for note in train.notes)
    with pytest.raises(ValueError, match=r"no split 'tets'.*Did you mean 'test'"):
        open_data(tmp_path, split="tets")


@pytest.mark.parametrize("labels", ["a-labels-idx1-ubyte", "a-labels-idx1-ubyte.gz"])
def test_a_file_finds_its_labels(tmp_path: Path, labels: str) -> None:
    path = write(tmp_path, "a-images-idx3-ubyte", idx(IMAGES))
    assert open_data(path).labels is None
    write(tmp_path, labels, idx(LABELS))
    found = open_data(path).labels
    assert found is not None and found.tolist() == LABELS.tolist()


def test_numbers_larger_than_a_byte_are_big_endian(tmp_path: Path) -> None:
    array = np.array([[1.5, -2.0]], ">f4")
    assert np.array_equal(read_idx(write(tmp_path, "a.idx", idx(array, 0x0D))), array)


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("a-images-ubyte", b"", "is not an IDX file"),
        ("a-images-ubyte", b"hello, this is text", "is not an IDX file"),
        ("a-images-ubyte", idx(IMAGES)[:10], "truncated in its header"),
        ("a-images-ubyte", idx(IMAGES)[:-1], "is truncated: it has 119 of 120 bytes"),
        ("a-labels-ubyte", idx(LABELS), "holds labels, not pictures"),
    ],
)
def test_broken_files_are_refused(tmp_path: Path, name: str, data: bytes, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        open_data(write(tmp_path, name, data))


def test_broken_gzip_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a-images-idx3-ubyte.gz", idx(IMAGES))
    whole = path.read_bytes()
    for data in (whole[:-20], b"not gzip at all", whole[:40] + bytes(10) + whole[50:]):
        path.write_bytes(data)
        with pytest.raises(ValueError, match=r"a-images-idx3-ubyte.gz is corrupt or truncated"):
            open_data(path)


def test_labels_of_another_number_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "a-images-idx3-ubyte", idx(IMAGES))
    write(tmp_path, "a-labels-idx1-ubyte", idx(LABELS[:4]))
    with pytest.raises(ValueError, match=r"5 samples but 4 labels"):
        open_data(path)


def test_a_header_that_claims_too_much_is_refused_unread(tmp_path: Path) -> None:
    header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in (99_999, 9_999, 999))
    path = write(tmp_path, "a-images-idx3-ubyte.gz", header + bytes(100))
    with pytest.raises(ValueError, match=r"takes 930.3 GiB once .* allow more with --max-gib 931"):
        open_data(path)
