"""Quarter turns: every picture is there four times, and turned back it is itself."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import tiny
import torch

from inkdrop.data.open import open_data
from inkdrop.data.pictures.turned import turned


def test_four_turns_of_every_picture(tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (5, 6, 6, 3)).astype(np.uint8)
    np.savez(tmp_path / "a.npz", images=images, labels=np.arange(5) % 2)
    plain = open_data(tmp_path / "a.npz")
    four = turned(plain)
    assert len(four) == 20 and four.fingerprint != plain.fingerprint
    assert four.labels is not None and plain.labels is not None
    assert list(four.labels) == [*plain.labels] * 4
    x = plain.take(range(5))
    for turn, rows in enumerate(torch.arange(20).split(5)):
        assert torch.equal(four.take(rows.tolist()).rot90(-turn, (2, 3)), x)
    assert four.take([]).shape == (0, 3, 6, 6)


def test_only_square_ones(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.zeros((2, 4, 6, 3), np.uint8))
    with pytest.raises(
        ValueError, match=r"a\.npy has pictures of 6x4; open them square to rotate them"
    ):
        turned(open_data(tmp_path / "a.npy"))


def test_turned_samples_keep_their_names_and_all_captions(tmp_path: Path) -> None:
    data = dataclasses.replace(tiny.data(tmp_path, 4), names=list("abcd"))
    data = dataclasses.replace(
        data, captions=tuple("efgh"), several=tuple(zip("efgh", "ijkl", strict=True))
    )
    found = turned(data.subset([1, 3]))
    assert [found.called(i) for i in range(8)] == ["b", "d"] * 4
    assert found.texts(5) == ("h", "l") and found.captions == ("f", "h") * 4
