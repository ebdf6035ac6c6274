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


def test_words_are_sorted() -> None:
    labels, names = classes(["rose", "daisy", "rose"], "x")
    assert labels.tolist() == [1, 0, 1] and names == ("daisy", "rose")


@pytest.mark.parametrize(
    ("values", "said"),
    [
        (np.eye(3), r"must be \[N\], not \[3, 3\]; use argmax"),
        (np.array([0.5, 1.0]), "whole numbers or words, not float"),
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
