"""The events of a run: frozen values that `train` yields as it goes."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from inkdrop.events import Note
from inkdrop.train.updates import Update


@dataclass(frozen=True)
class Validated:
    """The validation loss of the averaged weights, with fixed noise, after `update` updates."""

    update: int
    loss: float


@dataclass(frozen=True)
class Pictured:
    """A grid of samples was written."""

    path: Path


@dataclass(frozen=True)
class Saved:
    """A checkpoint was committed."""

    path: Path


Event = Update | Note | Validated | Pictured | Saved
