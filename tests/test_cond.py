"""Conditions are joined, padded and dropped row by row, whatever they hold."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from inkdrop.cond import Cond, cat


def tokens(batch: int, length: int, *, fill: float = 1.0, mask: list[bool] | None = None) -> Cond:
    rows = None if mask is None else torch.tensor(mask).expand(batch, length)
    return Cond(tokens=torch.full((batch, length, 2), fill), mask=rows)


def real(cond: Cond, row: int) -> Tensor:
    """The tokens of one sample that are not padding."""
    assert cond.tokens is not None
    kept = cond.tokens[row]
    return kept if cond.mask is None else kept[cond.mask[row]]


FULL = Cond(
    label=torch.tensor([1, 2, 3]),
    tokens=torch.arange(24.0).view(3, 4, 2),
    mask=torch.tensor([[True] * 4, [True, True, False, False], [True] * 4]),
    vector=torch.arange(9.0).view(3, 3),
    concat=torch.ones(3, 1, 4, 4),
    hint=torch.zeros(3, 3, 4, 4),
    guidance=torch.tensor([1.0, 7.5, 2.0]),
)


def test_an_empty_condition_knows_it() -> None:
    assert Cond().empty
    assert Cond().batch is None
    assert not FULL.empty
    assert FULL.batch == 3
    assert cat([Cond(), Cond()]).empty
    assert Cond().repeat(3).empty


def test_repeat_is_the_batch_over_and_over() -> None:
    twice = FULL.repeat(2)
    for field in dataclasses.fields(Cond):
        value = getattr(FULL, field.name)
        assert torch.equal(getattr(twice, field.name), torch.cat([value, value]))


def test_an_index_picks_samples() -> None:
    some = FULL[torch.tensor([2, 0])]
    assert some.label is not None
    assert some.label.tolist() == [3, 1]
    assert FULL[1:].batch == 2


def test_to_moves_every_field() -> None:
    moved = FULL.to("meta")
    assert all(getattr(moved, f.name).device.type == "meta" for f in dataclasses.fields(Cond))


def test_cat_joins_every_field() -> None:
    joined = cat([FULL, FULL[:1]])
    assert joined.batch == 4
    for field in dataclasses.fields(Cond):
        value = getattr(FULL, field.name)
        assert torch.equal(getattr(joined, field.name), torch.cat([value, value[:1]]))


def test_cat_pads_tokens_and_masks_the_padding() -> None:
    joined = cat([tokens(2, 3, fill=1), tokens(1, 5, fill=2), tokens(1, 1, fill=3)])
    assert joined.tokens is not None
    assert joined.tokens.shape == (4, 5, 2)
    assert joined.mask is not None
    assert joined.mask.sum(1).tolist() == [3, 3, 5, 1]
    for row, (length, fill) in enumerate([(3, 1), (3, 1), (5, 2), (1, 3)]):
        assert torch.equal(real(joined, row), torch.full((length, 2), float(fill)))


def test_cat_of_equal_lengths_needs_no_mask() -> None:
    assert cat([tokens(1, 3), tokens(2, 3)]).mask is None
    mixed = cat([tokens(1, 2, mask=[True, False]), tokens(1, 2)])
    assert mixed.mask is not None
    assert mixed.mask.tolist() == [[True, False], [True, True]]


def test_cat_keeps_a_mask_through_padding() -> None:
    joined = cat([tokens(1, 2, mask=[True, False]), tokens(1, 3)])
    assert joined.mask is not None
    assert joined.mask.tolist() == [[True, False, False], [True, True, True]]


@pytest.mark.parametrize("other", [Cond(), Cond(vector=torch.zeros(3, 2))])
def test_cat_of_different_fields_is_an_error(other: Cond) -> None:
    with pytest.raises(ValueError, match=r"one has a field that another lacks"):
        cat([Cond(label=torch.tensor([1])), other])


def test_where_takes_each_sample_from_one_of_the_two() -> None:
    null = FULL[torch.tensor([2, 2, 2])]
    keep = torch.tensor([True, False, True])
    mixed = FULL.where(keep, null)
    for field in dataclasses.fields(Cond):
        mine, other = getattr(FULL, field.name), getattr(null, field.name)
        rows = [mine[i] if keep[i] else other[i] for i in range(3)]
        assert torch.equal(getattr(mixed, field.name), torch.stack(rows))


@pytest.mark.parametrize("mine", [2, 4])
@pytest.mark.parametrize("null", [2, 4])
@pytest.mark.parametrize("masked", ["mine", "null", "both", "neither"])
def test_where_pads_whatever_is_shorter(mine: int, null: int, masked: str) -> None:
    half = {n: [True] * (n - 1) + [False] for n in (2, 4)}
    a = tokens(3, mine, fill=1, mask=half[mine] if masked in ("mine", "both") else None)
    b = tokens(3, null, fill=2, mask=half[null] if masked in ("null", "both") else None)
    keep = torch.tensor([True, False, True])
    mixed = a.where(keep, b)
    for row in range(3):
        assert torch.equal(real(mixed, row), real(a if keep[row] else b, row))


def test_where_of_different_fields_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"cannot be mixed"):
        Cond(label=torch.tensor([1])).where(torch.tensor([True]), Cond())


def test_where_of_nothing_is_nothing() -> None:
    assert Cond().where(torch.tensor([True]), Cond()).empty
