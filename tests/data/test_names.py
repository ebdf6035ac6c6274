"""The order of names, and their spelling."""

from __future__ import annotations

import itertools

from inkdrop.data.names import composed, natural


def test_numbers_within_names_are_counted() -> None:
    huge = "9" * 5000 + "x"
    names = ["a10b10", "b", "a2.png", "a10b2", "a10.png", huge, "a", "a1.png"]
    expected = [huge, "a", "a1.png", "a2.png", "a10.png", "a10b2", "a10b10", "b"]
    assert sorted(names, key=natural) == expected


def test_the_order_depends_on_the_names_alone() -> None:
    names = ["01", "1", "001", "1a", "", "²", "２", "a-1", "a1", "A1"]
    orders = {
        tuple(sorted(some, key=natural))
        for some in itertools.islice(itertools.permutations(names), 0, None, 9973)
    }
    assert len(orders) == 1


def test_composed_letters() -> None:
    assert composed("cafe\u0301") == composed("caf\u00e9") == "caf\u00e9"
