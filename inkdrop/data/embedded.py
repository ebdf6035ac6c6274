"""Data without files: the handwritten digits that come with scikit-learn."""

from __future__ import annotations

from inkdrop.data.array import from_array
from inkdrop.data.dataset import Dataset
from inkdrop.data.options import DataOptions

EMBEDDED = ("digits",)


def open_digits(options: DataOptions) -> Dataset:
    """1,797 handwritten digits, 8x8 grey with 17 levels, labels 0 to 9 (UCI; Alpaydin, Kaynak)."""
    options.refuse("digits", "image", "label", "caption", "split")
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        raise ValueError(
            "the embedded digits need scikit-learn; install it with: pip install scikit-learn"
        ) from None
    digits = load_digits()
    return from_array(digits.images, digits.target, options, "digits", top=16)
