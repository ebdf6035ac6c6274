"""Features by which pictures are compared, and a file cache for those of a data set."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from inkdrop.data.dataset import Dataset
from inkdrop.digest import digest
from inkdrop.files import replacing
from inkdrop.weights import read_weights


class Features(Protocol):
    """A network that maps a picture to D features, such as `Judge`."""

    @property
    def fingerprint(self) -> str:
        """A sha256 of everything that the features depend on."""
        ...

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in [-1, 1] -> [B, D]."""
        ...


@torch.no_grad()
def extract(network: Features, batches: Iterable[Tensor]) -> Tensor:
    """Features [N, D] float32 on the CPU, for batches of pictures [B, C, H, W] in [-1, 1].

    ValueError without any batch.
    """
    parts = [network.features(batch).float().cpu() for batch in batches]
    if not parts:
        raise ValueError("there are no pictures to extract features from; give at least one batch")
    return torch.cat(parts)


def batches(
    data: Dataset, *, size: int = 256, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """All pictures of a data set in order, as batches [size, C, H, W] in [-1, 1]."""
    for start in range(0, len(data), size):
        yield data.take(range(start, min(start + size, len(data)))).to(device)


def reference(
    network: Features, data: Dataset, folder: str | Path, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Features [N, D] float32 of a whole data set, cached in a file in `folder`.

    The file is named by `reference_file`, so it is only used for the same data and network. A
    missing or damaged file is rewritten. device: the network's.
    """
    from safetensors.torch import save_file

    path = reference_file(network, data, folder)
    try:
        return read_weights(path)["features"]
    except (ValueError, KeyError):
        found = extract(network, batches(data, device=device))
    with replacing(path) as part:
        save_file({"features": found}, part)
    return found


def reference_file(network: Features, data: Dataset, folder: str | Path) -> Path:
    """The cache file for a network and a data set, named by a sha256 of both fingerprints."""
    return Path(folder) / f"{digest([network.fingerprint, data.fingerprint])}.safetensors"
