"""Features: what pictures are compared by, and those of a data set, kept in a file."""

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
    """A network that says D numbers of a picture; `Judge` is one."""

    @property
    def fingerprint(self) -> str:
        """A sha256 of all that its numbers depend on."""
        ...

    def features(self, pictures: Tensor) -> Tensor:
        """Pictures [B, C, H, W] in [-1, 1] -> [B, D]."""
        ...


@torch.no_grad()
def extract(network: Features, batches: Iterable[Tensor]) -> Tensor:
    """Features [N, D] float32 on the CPU, of pictures that come as batches [B, C, H, W]."""
    parts = [network.features(batch).float().cpu() for batch in batches]
    if not parts:
        raise ValueError("there are no pictures to take features of; give at least one batch")
    return torch.cat(parts)


def batches(
    data: Dataset, *, size: int = 256, device: torch.device | str = "cpu"
) -> Iterator[Tensor]:
    """All pictures of a data set in its order, `size` at a time."""
    for start in range(0, len(data), size):
        yield data.take(range(start, min(start + size, len(data)))).to(device)


def reference(
    network: Features, data: Dataset, folder: str | Path, *, device: torch.device | str = "cpu"
) -> Tensor:
    """Features [N, D] float32 of a whole data set, from a file in `folder` if they are there.

    The file's name is `reference_file`, so other data or another network never finds it. A missing
    or a damaged file is written anew. device: where the network is.
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
    """The file of these features of this data: its name is a sha256 of both fingerprints."""
    return Path(folder) / f"{digest([network.fingerprint, data.fingerprint])}.safetensors"
