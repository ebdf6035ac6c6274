"""Initial weights of a Sketch: a least-squares fit from the words of captions to pictures' codes.

Training thus starts from the best linear map of the words, just as an autoencoder's starts from the
best linear code of its blocks.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.data.dataset import Dataset
from inkdrop.networks.sketch import Sketch
from inkdrop.train.aims.captions import Captioner
from inkdrop.train.aims.prompted import caption_ids

CAPTIONS = 100_000  # at most, over all pictures
EACH = 32  # at most, per picture
RIDGE = 0.03
# The start and end tokens carry no information, so they get little weight in the softmax. In an
# empty caption they are alone and, as their vectors are zero, the sketch is the mean code.
UNIMPORTANT = -6.0
_BATCH = 512


def fit_sketch(
    sketch: Sketch, data: Dataset, words: Tokenizer, context: int, captioner: Captioner, seed: int
) -> None:
    """Fills a new sketch by reduced-rank ridge regression (Izenman 1975; Mukherjee and Zhu 2011).

    The map W, of the sketch's rank, minimises |F W - Y|^2 + RIDGE |W|^2. A row of F holds the share
    of each token in one caption; the same row of Y is its picture's code minus the mean code.
    Captions are drawn as in training, several per picture.
    """
    rank = sketch.words.embedding_dim
    rows, shares, used = _captions(data, words, context, captioner, seed)
    mean = sum(data.take(part).double().sum(0) for part in _parts(np.arange(len(data))))
    assert isinstance(mean, Tensor)
    mean = (mean / len(data)).flatten()
    gram = RIDGE * torch.eye(len(used), dtype=torch.float64)
    cross = torch.zeros(len(used), mean.numel(), dtype=torch.float64)
    for part in _parts(np.arange(len(rows))):
        f = torch.zeros(len(part), len(used))
        for place, i in enumerate(part):
            f[place].index_add_(0, *shares[i])
        y = data.take(rows[part]).flatten(1) - mean.float()
        gram += f.T @ f
        cross += f.T @ y
    lower = torch.linalg.cholesky(gram)
    # With RIDGE as extra rows of F this is plain least squares. The best W of a given rank projects
    # onto the principal axes of the fitted values, which are those of L^-1 F^T Y.
    fitted = torch.linalg.solve_triangular(lower, cross, upper=False)
    axes = _axes(fitted, rank)
    said = torch.linalg.solve_triangular(lower.T, fitted @ axes, upper=True)
    # Balances both factors at the usual scale of new layers, so one learning rate suits both.
    size = (mean.numel() / rank) ** 0.5
    with torch.no_grad():
        sketch.words.weight[used, : axes.shape[1]] = (said / size).float()
        sketch.paint.weight.zero_()[:, : axes.shape[1]] = (axes * size).float()
        sketch.paint.bias.copy_(mean.float())
        sketch.importance.weight[[*words.frame[0], *words.frame[1]]] = UNIMPORTANT


def _captions(
    data: Dataset, words: Tokenizer, context: int, captioner: Captioner, seed: int
) -> tuple[np.ndarray, list[tuple[Tensor, Tensor]], Tensor]:
    """For each caption its picture's row, and its tokens with their shares; and all tokens in use.

    The tokens of a caption are given as indices into the tokens in use.
    """
    each = max(1, min(EACH, CAPTIONS // len(data)))
    count = min(len(data), CAPTIONS)
    rows = np.repeat(np.linspace(0, len(data) - 1, count).round().astype(np.int64), each)
    start, end = words.frame
    said = list[Tensor]()
    for number, row in enumerate(rows):
        key = np.array([seed % 2**64, 0], np.uint64)
        draw = np.random.Generator(np.random.Philox(key=key, counter=[number, 0, 0, 8]))
        ids, _ = caption_ids(words, [captioner(data, int(row), draw)], context)
        said.append(ids[0, len(start) : ids.shape[1] - len(end)])
    keep = np.array([i for i, ids in enumerate(said) if len(ids)], np.int64)
    used = torch.unique(torch.cat([said[i] for i in keep]))
    shares = [
        (torch.searchsorted(used, said[i]), torch.full((len(said[i]),), 1 / len(said[i])))
        for i in keep
    ]
    return rows[keep], shares, used


def _parts(rows: np.ndarray) -> list[np.ndarray]:
    return np.array_split(rows, -(-len(rows) // _BATCH))


def _axes(fitted: Tensor, rank: int) -> Tensor:
    """The first `rank` right singular vectors of a matrix [tokens, numbers], as columns."""
    if fitted.shape[0] < fitted.shape[1]:
        _, found = torch.linalg.eigh(fitted @ fitted.T)
        axes: Tensor = torch.nn.functional.normalize(fitted.T @ found[:, -rank:], dim=0)
        return axes.flip(1)
    _, found = torch.linalg.eigh(fitted.T @ fitted)
    axes = found[:, -rank:]
    return axes.flip(1)
