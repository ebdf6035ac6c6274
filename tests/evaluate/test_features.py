"""Features of a data set: in its order, kept in a file that other data or weights never find."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.data.open import open_data
from inkdrop.digest import digest
from inkdrop.evaluate.features import batches, extract, reference, reference_file
from inkdrop.evaluate.judge import Judge, JudgeConfig


class Moments:
    """Mean and spread of a picture; counts the pictures it saw."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale, self.seen = scale, 0

    @property
    def fingerprint(self) -> str:
        return digest(["moments", self.scale])

    def features(self, pictures: Tensor) -> Tensor:
        self.seen += len(pictures)
        flat = self.scale * pictures.flatten(1).double()
        return torch.stack([flat.mean(1), flat.std(1)], 1)


@pytest.fixture
def data(tmp_path: Path) -> Dataset:
    pixels = np.random.default_rng(0).integers(0, 256, (23, 6, 6), dtype=np.uint8)
    np.save(tmp_path / "pictures.npy", pixels)
    return open_data(tmp_path / "pictures.npy")


def test_batches_are_the_data_in_its_order(data: Dataset) -> None:
    parts = list(batches(data, size=10))
    assert [len(part) for part in parts] == [10, 10, 3]
    assert torch.equal(torch.cat(parts), data.take(range(23)))


def test_extract_is_float32_without_gradient(data: Dataset) -> None:
    judge = Judge(JudgeConfig({"which": ("a", "b")}, channels=1, widths=(8,)))
    found = extract(judge, batches(data, size=7))
    assert found.dtype == torch.float32 and not found.requires_grad
    torch.testing.assert_close(found, judge.features(data.take(range(23))).detach())
    with pytest.raises(ValueError, match="no pictures"):
        extract(judge, [])


def test_a_reference_is_computed_once(data: Dataset, tmp_path: Path) -> None:
    network = Moments()
    first = reference(network, data, tmp_path / "kept")
    again = reference(network, data, tmp_path / "kept")
    assert network.seen == 23 and torch.equal(first, again)
    whole = data.take(range(23)).flatten(1)
    torch.testing.assert_close(first, torch.stack([whole.mean(1), whole.std(1)], 1))


def test_other_data_or_another_network_has_its_own(data: Dataset, tmp_path: Path) -> None:
    some = data.subset([3, 4])
    for network, pictures, count in ((Moments(), data, 23), (Moments(), some, 2)):
        assert len(reference(network, pictures, tmp_path / "kept")) == count
    doubled = reference(Moments(2.0), data, tmp_path / "kept")
    torch.testing.assert_close(doubled, 2 * reference(Moments(), data, tmp_path / "kept"))
    assert len(list((tmp_path / "kept").iterdir())) == 3


def test_a_damaged_file_is_written_anew(data: Dataset, tmp_path: Path) -> None:
    network = Moments()
    first = reference(network, data, tmp_path)
    path = reference_file(network, data, tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-20])
    assert torch.equal(reference(network, data, tmp_path), first)
    assert network.seen == 46 and path.read_bytes() == whole
