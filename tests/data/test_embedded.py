"""The embedded digits, against scikit-learn's own."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits  # type: ignore[import-untyped]

from inkdrop.data.open import open_data


def test_digits_are_exact() -> None:
    data, digits = open_data("digits"), load_digits()
    assert data.shape == (1, 8, 8) and len(data) == 1797
    assert np.array_equal(data.take(range(1797))[:, 0].numpy(), digits.images / 8 - 1)
    assert data.labels is not None and np.array_equal(data.labels, digits.target)
    assert data.label_names == tuple("0123456789")


def test_digits_in_another_size_stay_in_range() -> None:
    data = open_data("digits", size=16, channels=3)
    x = data.take(range(100))
    assert x.shape == (100, 3, 16, 16) and x.min() >= -1 and x.max() <= 1
    means = x.mean((1, 2, 3)) - open_data("digits").take(range(100)).mean((1, 2, 3))
    assert means.abs().max() < 0.05


def test_without_scikit_learn_it_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(
        ValueError, match=r"need scikit-learn; install it with: pip install scikit-learn"
    ):
        open_data("digits")


def test_what_digits_do_not_have_is_refused() -> None:
    with pytest.raises(ValueError, match=r"digits has no choice of split"):
        open_data("digits", split="test")
