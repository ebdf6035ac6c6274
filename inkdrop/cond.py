"""The condition of a network: one frozen dataclass of optional, batched tensors."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cond:
    """A batch of conditions; every field is None or has the batch first.

    label:  [B] int64 class index; the last index of a network's table is the null label
    tokens: [B, L, D] a sequence for cross-attention
    mask:   [B, L] bool of the tokens (True = a real token)
    vector: [B, D] added to the time embedding
    concat: [B, C, *spatial] appended to the input's channels
    hint:   [B, C, *spatial] a picture in [0, 1] for a control network
    guidance: [B] the guidance scale, for a guidance-distilled network, which is called only once

    The docstring of each network lists the fields it reads.
    """

    label: Tensor | None = None
    tokens: Tensor | None = None
    mask: Tensor | None = None
    vector: Tensor | None = None
    concat: Tensor | None = None
    hint: Tensor | None = None
    guidance: Tensor | None = None

    def _map(self, f: Callable[[Tensor], Tensor]) -> Cond:
        return Cond(*(None if v is None else f(v) for v in self._values()))

    def _values(self) -> list[Tensor | None]:
        return [getattr(self, field.name) for field in dataclasses.fields(self)]

    def to(self, device: torch.device | str) -> Cond:
        """The same condition on another device."""
        return self._map(lambda v: v.to(device))

    def repeat(self, n: int) -> Cond:
        """[B, ...] -> [n B, ...]: the whole batch n times over."""
        return self._map(lambda v: v.repeat(n, *([1] * (v.ndim - 1))))

    def __getitem__(self, index: slice | Tensor) -> Cond:
        """The condition of some of the samples."""
        return self._map(lambda v: v[index])

    @property
    def empty(self) -> bool:
        """Whether all fields are None."""
        return all(v is None for v in self._values())

    @property
    def batch(self) -> int | None:
        """Number of samples, or None if the condition is empty."""
        return next((v.shape[0] for v in self._values() if v is not None), None)

    def where(self, keep: Tensor, null: Cond) -> Cond:
        """Sample i of this condition where keep[i] (bool, [B]), else of the null condition.

        ValueError if only one of the two has a field.
        """
        a, b = _padded(self, null)
        pairs = zip(a._values(), b._values(), strict=True)
        return Cond(*(_select(keep, mine, other) for mine, other in pairs))


def _select(keep: Tensor, mine: Tensor | None, other: Tensor | None) -> Tensor | None:
    if mine is None or other is None:
        if mine is not other:
            raise ValueError(
                "two conditions cannot be mixed, because one has a field that the other lacks; give"
                " both the same fields"
            )
        return None
    return torch.where(keep.to(mine.device).view(-1, *([1] * (mine.ndim - 1))), mine, other)


def _padded(a: Cond, b: Cond) -> tuple[Cond, Cond]:
    """Both conditions with token sequences of equal length; padding is masked."""
    if a.tokens is None or b.tokens is None:
        return a, b
    length = max(a.tokens.shape[1], b.tokens.shape[1])
    a, b = _pad(a, length), _pad(b, length)
    return (a, b) if a.mask is None and b.mask is None else (_with_mask(a), _with_mask(b))


def _pad(cond: Cond, length: int) -> Cond:
    assert cond.tokens is not None
    mask = cond.mask
    if cond.tokens.shape[1] == length:
        return cond
    if mask is None:
        mask = torch.ones(cond.tokens.shape[:2], dtype=torch.bool, device=cond.tokens.device)
    extra = length - cond.tokens.shape[1]
    tokens = torch.nn.functional.pad(cond.tokens, (0, 0, 0, extra))
    return dataclasses.replace(cond, tokens=tokens, mask=torch.nn.functional.pad(mask, (0, extra)))


def cat(conds: list[Cond]) -> Cond:
    """[B1, ...], [B2, ...] -> [B1 + B2, ...]; token sequences are padded to the longest.

    ValueError if a condition has a field that another lacks.
    """
    longest = max((c.tokens.shape[1] for c in conds if c.tokens is not None), default=0)
    padded = [c if c.tokens is None else _pad(c, longest) for c in conds]
    if any(c.mask is not None for c in padded):
        padded = [_with_mask(c) for c in padded]
    columns = zip(*(c._values() for c in padded), strict=True)
    joined: list[Tensor | None] = []
    for column in columns:
        present = [v for v in column if v is not None]
        if present and len(present) != len(column):
            raise ValueError(
                "conditions cannot be joined, because one has a field that another lacks; give all"
                " the same fields"
            )
        joined.append(torch.cat(present) if present else None)
    return Cond(*joined)


def _with_mask(cond: Cond) -> Cond:
    if cond.tokens is None or cond.mask is not None:
        return cond
    mask = torch.ones(cond.tokens.shape[:2], dtype=torch.bool, device=cond.tokens.device)
    return dataclasses.replace(cond, mask=mask)
