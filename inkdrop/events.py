"""What any long piece of work says on its way, besides its own events."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A sentence for the user."""

    text: str
