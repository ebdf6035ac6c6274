"""The command line as tests drive it, in this process."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from inkdrop.cli import main


def inkdrop(monkeypatch: pytest.MonkeyPatch, *words: object) -> None:
    monkeypatch.setattr(sys, "argv", ["inkdrop", *map(str, words)])
    main()


def left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *words: object
) -> str:
    """The sentence with which a command leaves."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as error:
        inkdrop(monkeypatch, *words)
    message = capsys.readouterr().err
    assert error.value.code == 2
    assert message.count("\n") == 1, message
    return message


def same(one: Path, other: Path) -> bool:
    with Image.open(one) as a, Image.open(other) as b:
        return np.array_equal(np.asarray(a), np.asarray(b))
