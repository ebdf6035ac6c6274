"""A pickle that would show if anybody opened it."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class Bomb:
    """Leaves a mark where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)
