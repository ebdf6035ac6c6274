"""The fit of a sketch, against scikit-learn's ridge regression and the best of lower rank."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch
from sklearn.linear_model import Ridge

from inkdrop.conditioning.tokenizer import Tokenizer, train_tokenizer
from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.networks.sketch import Sketch
from inkdrop.train.aims.captions import written
from inkdrop.train.aims.prompted import caption_ids
from inkdrop.train.aims.sketch import EACH, RIDGE, fit_sketch

COLOURS = ("grey", "bright", "a very bright", "one")


def told(folder: Path, size: int = 8) -> Dataset:
    """Pictures with captions of two to nine words, some said of many."""
    data = tiny.data(folder)
    if size < 8:
        cut = data.take(range(len(data)))[:, 0, 4 - size // 2 : 4 + size // 2, :size]
        images = ((cut + 1) * 127.5).round().to(torch.uint8).numpy()[..., None]
        np.savez(folder / "cut.npz", images=images, labels=np.asarray(data.labels))
        data = open_data(folder / "cut.npz")
    assert data.labels is not None
    captions = tuple(
        f"{COLOURS[i % 4]} {('above', 'below')[data.labels[i]]} {'and so on' * (i % 3)}".strip()
        for i in range(len(data))
    )
    return dataclasses.replace(data, captions=captions)


def words() -> Tokenizer:
    return train_tokenizer([*COLOURS, "above", "below", "and so on"] * 3, 300)


def shares(data: Dataset, words: Tokenizer) -> np.ndarray:
    """The share of every token of the vocabulary in each caption."""
    found = np.zeros((len(data), 300))
    for i, caption in enumerate(data.captions or ()):
        for piece in words.pieces(caption):
            found[i, piece.id] += 1
    return found / found.sum(1, keepdims=True)


def drawn(sketch: Sketch, data: Dataset, words: Tokenizer) -> np.ndarray:
    ids, mask = caption_ids(words, data.captions or (), 32)
    with torch.no_grad():
        return sketch(ids, mask).flatten(1).double().numpy()


@pytest.mark.parametrize("size", [8, 2], ids=["more numbers than words", "more words than numbers"])
def test_of_full_rank_it_is_ridge_regression(tmp_path: Path, size: int) -> None:
    data, tokenizer = told(tmp_path, size), words()
    sketch = Sketch(300, 64, data.shape)
    fit_sketch(sketch, data, tokenizer, 32, written, seed=0)
    y = data.take(range(len(data))).flatten(1).double().numpy()
    f = np.repeat(shares(data, tokenizer), EACH, axis=0)
    ridge = Ridge(alpha=RIDGE, fit_intercept=False).fit(f, np.repeat(y - y.mean(0), EACH, axis=0))
    want = ridge.predict(shares(data, tokenizer)) + y.mean(0)
    # The tokens around a caption keep a share of 0.5 % at most.
    np.testing.assert_allclose(drawn(sketch, data, tokenizer), want, atol=0.02)
    assert np.abs(want - y.mean(0)).max() > 0.3


def test_of_lower_rank_no_other_is_nearer(tmp_path: Path) -> None:
    data, tokenizer = told(tmp_path), words()
    y = data.take(range(len(data))).flatten(1).double().numpy()
    f = np.repeat(shares(data, tokenizer), EACH, axis=0)
    target = np.repeat(y - y.mean(0), EACH, axis=0)
    # Ridge as more rows, then the best approximation of the fitted values: Eckart and Young.
    rows = np.concatenate([f, np.sqrt(RIDGE) * np.eye(300)])
    full = np.linalg.lstsq(rows, np.concatenate([target, np.zeros((300, 64))]), rcond=None)[0]
    _, _, axes = np.linalg.svd(rows @ full)
    for rank in (1, 2):
        sketch = Sketch(300, rank, data.shape)
        fit_sketch(sketch, data, tokenizer, 32, written, seed=0)
        want = shares(data, tokenizer) @ full @ axes[:rank].T @ axes[:rank] + y.mean(0)
        np.testing.assert_allclose(drawn(sketch, data, tokenizer), want, atol=0.02)


def test_nothing_said_is_the_mean_picture(tmp_path: Path) -> None:
    data, tokenizer = told(tmp_path), words()
    sketch = Sketch(300, 16, data.shape)
    fit_sketch(sketch, data, tokenizer, 32, written, seed=0)
    ids, mask = caption_ids(tokenizer, [""], 32)
    torch.testing.assert_close(sketch(ids, mask)[0], data.take(range(len(data))).mean(0))
