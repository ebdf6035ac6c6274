"""A first picture of what is said: a linear map of the bag of words."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class Sketch(nn.Module):
    """Token ids [B, L] -> a picture of them in diffusion space [B, *shape], for cond.concat.

        sketch = P sum_i w_i e_i + p,    w = softmax of a_i over the prompt's tokens

    with e_i a vector of `rank` numbers and a_i one number for each token of the vocabulary. Words
    say where and of which colour things are at once, which a transformer that starts from nothing
    finds out late. A new one says nothing, p = 0; `train.sketch` fits it by least squares.
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
        """ids [B, L] int64, mask [B, L] bool (True = a real token), weights [B, L] of emphasis."""
        importance = self.importance(ids)[..., 0].masked_fill(~mask, -torch.inf)
        share = importance.softmax(dim=1)
        if weights is not None:
            share = share * weights
        said = (share[..., None] * self.words(ids)).sum(dim=1)
        picture: Tensor = self.paint(said)
        return picture.reshape(-1, *self.shape)
