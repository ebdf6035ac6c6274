"""Names with a place for a number."""

from __future__ import annotations

from pathlib import Path

import pytest

from inkdrop.media.numbered import is_numbered, numbered


@pytest.mark.parametrize(
    ("name", "seventh"),
    [
        ("pic_%d.png", "pic_7.png"), ("%03d.png", "007.png"), ("a%3d.png", "a  7.png"),
        ("pic_{}.png", "pic_7.png"), ("{:04d}.jpg", "0007.jpg"), ("{:04}.jpg", "0007.jpg"),
    ],
)  # fmt: skip
def test_places_are_filled_as_python_and_c_fill_them(name: str, seventh: str) -> None:
    assert is_numbered(Path("a%d") / name)  # only the name counts, not the folder
    assert numbered(Path("a%d") / name, 7) == Path("a%d") / seventh
    filled = name.format(7) if "{" in name else name % 7
    assert filled == seventh


def test_other_names_are_left_alone() -> None:
    for name in ("100%.png", "a%s.png", "{x}.png", "50%off.png", "a{0}.png", "%.png"):
        assert not is_numbered(Path(name)) and numbered(Path(name), 3) == Path(name)
    with pytest.raises(ValueError, match=r"has 2 places for a number; give one"):
        is_numbered(Path("%d_{}.png"))
