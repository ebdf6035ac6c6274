"""A first picture of a prompt: a linear map of its bag of words."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sketch(nn.Module):
    """Token ids [B, L] -> a rough picture of the prompt [B, *shape], for cond.concat.

        sketch = P sum_i w_i e_i + p,    w = softmax of a_i over the prompt's tokens

    where each token of the vocabulary has a vector e_i of `rank` numbers and a number a_i. This
    gives the denoiser positions and colours from the first update on, which a transformer trained
    from scratch learns late. A new sketch is zero; `train.aims.sketch` fits it by least squares.
    """

    def __init__(self, vocabulary: int, rank: int, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = tuple(shape)
        self.words = nn.Embedding(vocabulary, rank)
        self.importance = nn.Embedding(vocabulary, 1)
        self.paint = nn.Linear(rank, math.prod(self.shape))
        for weight in (self.words.weight, self.importance.weight, self.paint.bias):
            nn.init.zeros_(weight)

    def forward(self, ids: Tensor, mask: Tensor, weights: Tensor | None = None) -> Tensor:
        """ids [B, L] int64, mask [B, L] bool (True = a real token), weights [B, L]: of emphasis.

        Returns [B, *shape].
        """
        importance = self.importance(ids)[..., 0].masked_fill(~mask, -torch.inf)
        share = importance.softmax(dim=1)
        if weights is not None:
            share = share * weights
        said = (share[..., None] * self.words(ids)).sum(dim=1)
        picture: Tensor = self.paint(said)
        return picture.reshape(-1, *self.shape)
