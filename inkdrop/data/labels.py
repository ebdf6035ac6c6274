"""Class labels as 0 ... K-1 with names, from the numbers or words of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from inkdrop.conditioning.tokenizer import sound
from inkdrop.data.names import composed, natural


def classes(
    values: Sequence[object] | NDArray[np.generic], where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """int64 [N] in 0 ... K-1, and K names: the distinct numbers or words in sorted order.

    Numbers 0 ... K-1 are unchanged; others (1, 5, 7) become 0, 1, 2 with names "1", "5", "7".
    Words are sorted naturally, "2" before "10", and the two spellings of one Unicode word are one.
    Labels [N, 1], one-hot labels [N, K] and whole numbers stored as floats are read too.
    ValueError unless there is one number, or one word, for each picture.
    """
    array = values if isinstance(values, np.ndarray) else _array(values, where)
    array = _whole(_column(array, where), where)
    if array.dtype.kind in "US":
        return _words(array, where)
    distinct, index = np.unique(array, return_inverse=True)
    return index.astype(np.int64), tuple(str(value) for value in distinct.tolist())


def _column(array: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """Labels [N] as they are, the column of [N, 1], and where the 1 is in one-hot labels [N, K]."""
    if array.ndim == 2 and array.shape[1] == 1:
        column: NDArray[np.generic] = array[:, 0]
        return column
    if _is_one_hot(array):
        return np.asarray((array == 1).argmax(axis=1), np.int64)
    if array.ndim != 1:
        raise ValueError(
            f"labels of {where} must be [N], or one-hot [N, K] with a single 1 in each row, not"
            f" {list(array.shape)}; a sample has one class"
        )
    return array


def _is_one_hot(array: NDArray[np.generic]) -> bool:
    if array.ndim != 2 or array.dtype.kind not in "iubf":
        return False
    ones, zeros = array == 1, array == 0
    return bool((ones | zeros).all() and (ones.sum(axis=1) == 1).all())


def are_several(array: NDArray[np.generic]) -> bool:
    """Whether labels [N, K] give a sample several classes, or none, or other numbers."""
    return array.ndim == 2 and array.shape[1] != 1 and not _is_one_hot(array)


def _whole(array: NDArray[np.generic], where: str) -> NDArray[np.generic]:
    """Numbers that are whole as integers; words as they are."""
    if array.dtype.kind == "f":
        values = array.astype(np.float64)
        with np.errstate(invalid="ignore"):
            whole = (values == np.round(values)) & (np.abs(values) < 2**53)
        if not whole.all():
            first = int(whole.argmin())
            raise ValueError(
                f"labels of {where} must be whole numbers or words, not {values[first]:g} (first at"
                f" number {first}); number the classes from 0"
            )
        return values.astype(np.int64)
    if array.dtype.kind not in "iubUS":
        raise ValueError(
            f"labels of {where} must be whole numbers or words, not {array.dtype};"
            " convert them first"
        )
    return array


def _words(array: NDArray[np.generic], where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    try:
        words = (
            array if array.dtype.kind == "U" else np.char.decode(array.astype(np.bytes_), "utf-8")
        )
    except UnicodeDecodeError as error:
        raise ValueError(
            f"labels of {where} hold bytes that are not UTF-8 ({error.object!r}); save them as text"
        ) from None
    stored, index = np.unique(words, return_inverse=True)
    spelled = [composed(sound(str(word))) for word in stored.tolist()]
    names = sorted(set(spelled), key=natural)
    number = {name: i for i, name in enumerate(names)}
    return np.array([number[word] for word in spelled], np.int64)[index], tuple(names)


def _array(values: Sequence[object], where: str) -> NDArray[np.generic]:
    """One array of whole numbers or of words; NumPy would silently turn 1 among words into "1"."""
    # A table's column of whole numbers with gaps holds floats, and NaN in the gaps.
    missing = [i for i, value in enumerate(values) if value is None or value != value]
    if missing:
        raise ValueError(
            f"{where} has no label for {len(missing)} of {len(values)} pictures, first for number"
            f" {missing[0]}; label all of them or none"
        )
    kinds = {type(value) for value in values}
    if len(kinds) > 1 or not issubclass(next(iter(kinds), int), (int, float, str)):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(f"labels of {where} must be all whole numbers or all words, not {names}")
    return np.asarray(values)
