"""Labels from numbers and words."""

from __future__ import annotations

import numpy as np
import pytest

from inkdrop.data.labels import classes


def test_numbers_from_zero_stay() -> None:
    labels, names = classes(np.array([2, 0, 1, 2], np.uint8), "x")
    assert labels.dtype == np.int64 and labels.tolist() == [2, 0, 1, 2]
    assert names == ("0", "1", "2")


def test_other_numbers_are_named_by_their_value() -> None:
    labels, names = classes(np.array([7, -1, 7]), "x")
    assert labels.tolist() == [1, 0, 1] and names == ("-1", "7")


@pytest.mark.parametrize(
    "values",
    [
        np.array([[7], [5], [7]]),
        np.array([7.0, 5.0, 7.0]),
        [7.0, 5.0, 7.0],
        np.array([["7"], ["5"], ["7"]]),
    ],
)
def test_a_column_and_whole_floats_are_labels(values: object) -> None:
    labels, names = classes(values, "x")  # type: ignore[arg-type]
    assert labels.dtype == np.int64 and labels.tolist() == [1, 0, 1] and names == ("5", "7")


@pytest.mark.parametrize("kind", [np.uint8, np.float32, bool])
def test_one_hot_labels_are_the_place_of_the_one(kind: type) -> None:
    labels, names = classes(np.eye(4, dtype=kind)[[2, 0, 1, 3, 2]], "x")
    assert labels.tolist() == [2, 0, 1, 3, 2] and names == ("0", "1", "2", "3")


def test_words_are_sorted() -> None:
    labels, names = classes(["rose", "daisy", "rose"], "x")
    assert labels.tolist() == [1, 0, 1] and names == ("daisy", "rose")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.ones((3, 2)), r"must be \[N\], or one-hot .*, not \[3, 2\]; a sample has one class"),
        (np.zeros((2, 3, 1)), r"not \[2, 3, 1\]"),
        (np.array([1.0, 0.5]), r"whole numbers or words, not 0.5 \(first at number 1\)"),
        (np.array([1.0, np.nan]), r"not nan \(first at number 1\)"),
        (np.array([1j]), "not complex128; convert them"),
        ([1.0, float("nan")], "no label for 1 of 2 pictures, first for number 1"),
        (["a", None], "no label for 1 of 2 pictures, first for number 1"),
        (["a", 1, {}], "must be all whole numbers or all words, not dict and int and str"),
    ],
)
def test_what_is_no_label_is_refused(values: object, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        classes(values, "x")  # type: ignore[arg-type]


def test_words_with_numbers_are_sorted_as_people_count() -> None:
    labels, names = classes(["10", "2", "b1", "a12", "a3", "2"], "x")
    assert names == ("2", "10", "a3", "a12", "b1") and labels.tolist() == [1, 0, 4, 3, 2, 0]


def test_both_spellings_of_a_unicode_word_are_one_class() -> None:
    labels, names = classes(["caf\u00e9", "cafe\u0301", "tea"], "x")
    assert names == ("caf\u00e9", "tea") and labels.tolist() == [0, 0, 1]


def test_words_in_another_encoding_are_named() -> None:
    with pytest.raises(ValueError, match=r"not UTF-8 \(b'caf\\xe9'\)"):
        classes(np.array([b"caf\xe9"]), "x")
