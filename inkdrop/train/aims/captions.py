"""Captions of pictures during training, which may be chosen at random."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np

    from inkdrop.data.dataset import Dataset


class Captioner(Protocol):
    """Returns a caption for picture `index` of the data, using the random generator `draw`."""

    def __call__(self, data: Dataset, index: int, draw: np.random.Generator) -> str: ...


def written(data: Dataset, index: int, draw: np.random.Generator) -> str:
    """The data's own caption, or one of them drawn at random."""
    texts = data.texts(index)
    if not texts:
        raise ValueError(f"{data.name} has no captions; text needs one for each picture")
    return texts[0] if len(texts) == 1 else texts[int(draw.random() * len(texts))]
