from __future__ import annotations

import sys

import pytest

from inkdrop.explain.style import needs_matplotlib


def test_a_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ValueError, match=r"inkdrop\[explain\]"):
        needs_matplotlib()
