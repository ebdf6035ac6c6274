"""How well pictures match their conditions: R-precision and the CLIP score."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from inkdrop.evaluate.matrix import matrices


def r_precision(scores: Tensor, right: Tensor, *, k: int = 1) -> float:
    """Share (0 to 1) of samples whose own text is among the k best candidates; Xu et al. 2018.

    scores [N, K]: of each sample with each candidate, higher is better; right [N] int64: index of
    each sample's own candidate. Ties rank before the own candidate, so a judge that cannot tell
    candidates apart gets no credit. ValueError for other shapes or values.
    """
    _check_scores(scores, right, k)
    own = scores.gather(1, right[:, None])
    # Minus 1, because the own candidate is counted too.
    before = (scores >= own).sum(1) - 1
    return float((before < k).double().mean())


def clip_score(pictures: Tensor, texts: Tensor) -> float:
    """100 times the mean of max(cosine, 0) of paired embeddings [N, D]; Hessel et al. 2021.

    The paper's factor is 2.5, but most papers report 100. ValueError for other shapes, NaN or a
    zero row.
    """
    a, b = matrices(pictures, texts)
    if len(a) != len(b):
        raise ValueError(f"there are {len(a)} pictures and {len(b)} texts; give one text each")
    for name, x in (("picture", a), ("text", b)):
        empty = (x == 0).all(1).nonzero()
        if len(empty):
            raise ValueError(
                f"the embedding of {name} {int(empty[0])} is zero, which has no direction;"
                " leave that pair out"
            )
    return 100 * float(F.cosine_similarity(a, b, dim=1).clamp(min=0).mean())


def _check_scores(scores: Tensor, right: Tensor, k: int) -> None:
    if scores.ndim != 2 or right.shape != scores.shape[:1] or not scores.numel():
        raise ValueError(
            f"scores and right have shapes {list(scores.shape)} and {list(right.shape)}; give"
            " [N, K] and [N]"
        )
    candidates = scores.shape[1]
    if right.dtype.is_floating_point or not bool(((right >= 0) & (right < candidates)).all()):
        raise ValueError(f"right must hold one integer from 0 to {candidates - 1} per sample")
    if bool(scores.isnan().any()):
        raise ValueError("scores contain a NaN; look for it in the embeddings")
    if not 1 <= k < candidates:
        raise ValueError(
            f"k is {k}, but with {candidates} candidates it must be from 1 to {candidates - 1};"
            " give more candidates or a smaller k"
        )
