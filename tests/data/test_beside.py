"""Data sets side by side stay together: by number, in subsets, turned, and as fingerprints."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from inkdrop.data.beside import with_beside
from inkdrop.data.dataset import ArrayStore, Dataset
from inkdrop.data.pictures.turned import turned


def made(name: str, shape: tuple[int, ...], count: int = 6, seed: int = 0) -> Dataset:
    array = np.random.default_rng(seed).integers(0, 256, (count, *shape)).astype(np.uint8)
    return Dataset(name, shape, ArrayStore(array), count, f"{name} {seed}")


def test_samples_come_with_what_is_beside_them() -> None:
    data, concat = made("data", (1, 4, 4)), made("sketch", (3, 4, 4), seed=1)
    edges, vector = made("edges", (1, 4, 4), seed=2), made("numbers", (5,), seed=3)
    both = with_beside(data, concat=concat, hint=edges, vector=vector)
    assert torch.equal(both.take([4, 1]), data.take([4, 1]))
    found = both.take_beside([4, 1])
    assert found.keys() == {"concat", "hint", "vector"}
    assert torch.equal(found["concat"], concat.take([4, 1]))
    assert torch.equal(found["vector"], vector.take([4, 1]))
    assert float(found["hint"].min()) >= 0 and float(found["hint"].max()) <= 1
    assert torch.equal(2 * found["hint"] - 1, edges.take([4, 1]))
    assert both.describe() == "data: 6 pictures, 4x4 grey, concat, hint, vector"
    assert data.take_beside([0]) == {}


def test_a_subset_and_a_turned_set_take_it_along() -> None:
    data = made("data", (1, 4, 4))
    vector = made("numbers", (5,), seed=3)
    both = with_beside(data, concat=data, vector=vector)
    part = both.subset([5, 2])
    assert torch.equal(part.take_beside([1])["concat"], data.take([2]))
    all_four = turned(part)
    rows = range(len(all_four))
    assert len(all_four) == 8
    assert torch.equal(all_four.take_beside(rows)["concat"], all_four.take(rows))
    assert torch.equal(all_four.take_beside([3])["vector"], vector.take([2]))


def test_the_fingerprint_knows_what_is_beside() -> None:
    data, a, b = (made(name, (1, 4, 4), seed=i) for i, name in enumerate("xyz"))
    sets = [data, with_beside(data, concat=a), with_beside(data, concat=b)]
    sets += [with_beside(data, hint=a), with_beside(data, concat=a, hint=b)]
    assert len({one.fingerprint for one in sets}) == len(sets)
    swapped = with_beside(data, hint=b, concat=a)
    assert swapped.fingerprint == sets[-1].fingerprint


def test_what_does_not_fit_is_refused() -> None:
    data = made("data", (1, 4, 4))
    with pytest.raises(ValueError, match=r"concat is few with 5 samples, but data has 6"):
        with_beside(data, concat=made("few", (1, 4, 4), count=5))
    with pytest.raises(ValueError, match=r"hint is large with samples of size 8x8.* are 4x4"):
        with_beside(data, hint=made("large", (1, 8, 8)))
    with pytest.raises(ValueError, match=r"vector is square with samples of shape \[1, 4, 4\]"):
        with_beside(data, vector=made("square", (1, 4, 4)))
    with pytest.raises(ValueError, match=r"'hints'.*Did you mean 'hint'"):
        with_beside(data, hints=data)
    with pytest.raises(ValueError, match="'pictures'"):
        dataclasses.replace(data, beside={"pictures": data.store})
