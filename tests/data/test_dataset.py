"""A data set answers by number; its fingerprint knows its content."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.digest import digest


def make(count: int = 6) -> Dataset:
    pixels = np.arange(count * 4, dtype=np.uint8).reshape(count, 1, 2, 2)
    return Dataset(
        name="ramp",
        shape=(1, 2, 2),
        store=ArrayStore(pixels),
        count=count,
        fingerprint="f",
        labels=np.arange(count) % 2,
        label_names=("even", "odd"),
        captions=tuple(f"number {i}" for i in range(count)),
    )


def test_pixels_in_the_order_asked() -> None:
    x = make().take([5, 0, 5])
    assert x.dtype == torch.float32 and x.shape == (3, 1, 2, 2)
    assert x[:, 0, 0, 0].add(1).mul(127.5).round().tolist() == [20, 0, 20]
    assert make().take([]).shape == (0, 1, 2, 2)


def test_eight_bits_become_minus_one_to_one() -> None:
    store = ArrayStore(np.array([0, 255], np.uint8).reshape(2, 1, 1, 1))
    assert store.take(np.array([0, 1])).flatten().tolist() == [-1, 1]


def test_what_is_asked_for_is_never_the_cache_itself() -> None:
    floats = np.zeros((2, 1, 1, 1), np.float32)
    store = ArrayStore(floats, 1.0, 0.0)
    store.take(np.array([0, 1])).add_(1)
    assert not floats.any()


@pytest.mark.parametrize("index", [-1, 6])
def test_numbers_outside_are_refused(index: int) -> None:
    with pytest.raises(IndexError, match=r"samples 0 to 5"):
        make().take([index])


def test_a_subset_takes_everything_along() -> None:
    data = make()
    part = data.subset([4, 1])
    assert len(part) == 2 and torch.equal(part.take([1, 0]), data.take([1, 4]))
    assert part.labels is not None and part.labels.tolist() == [0, 1]
    assert part.captions == ("number 4", "number 1")
    assert part.fingerprint != data.fingerprint != data.subset([1, 4]).fingerprint
    assert part.subset([0]).take([0])[0, 0, 0, 0] == data.take([4])[0, 0, 0, 0]


def test_one_line_says_what_it_is() -> None:
    said = make().describe()
    assert said == "ramp: 6 pictures, 2x2 grey, 2 labels (even, odd), captions"


def test_its_repr_is_that_line() -> None:
    assert repr(make()) == f"Dataset({make().describe()})"


def test_labels_and_pictures_must_be_as_many() -> None:
    with pytest.raises(ValueError, match=r"6 samples but 2 labels"):
        Dataset("x", (1, 1, 1), ArrayStore(np.zeros((6, 1, 1, 1))), 6, "", np.zeros(2, np.int64))


def test_a_digest_sees_values_types_shapes_and_borders() -> None:
    parts: list[list[object]] = [
        [np.zeros(4, np.uint8)],
        [np.zeros((2, 2), np.uint8)],
        [np.zeros(4, np.int8)],
        [np.ones(4, np.uint8)],
        ["ab", "c"],
        ["a", "bc"],
        [],
    ]
    assert len({digest(part) for part in parts}) == len(parts)
    assert digest([np.arange(9).reshape(3, 3).T]) == digest([np.arange(9).reshape(3, 3).T.copy()])
