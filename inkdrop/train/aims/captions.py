"""The captions of pictures during training, which may be drawn at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from inkdrop.data.dataset import Dataset


class Captioner(Protocol):
    """The caption of picture `index` of the data, by the random numbers `draw`."""

    def __call__(self, data: Dataset, index: int, draw: np.random.Generator) -> str: ...


def written(data: Dataset, index: int, draw: np.random.Generator) -> str:
    """The data's own caption."""
    if data.captions is None:
        raise ValueError(f"{data.name} has no captions; text needs one for each picture")
    return data.captions[index]
