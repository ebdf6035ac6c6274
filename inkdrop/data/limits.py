"""How much data may take once it is unpacked: compressed files can claim any size."""

from __future__ import annotations

from dataclasses import dataclass

GIB = 1 << 30


@dataclass
class Room:
    """What is left of the bytes that a data set may unpack to; see `DataOptions.max_gib`.

    where: the data's name in messages
    """

    max_gib: float
    where: str
    used: int = 0

    def take(self, size: int, what: str = "") -> None:
        """ValueError if these bytes are too many, together with those taken before."""
        self.used += size
        if self.used <= self.max_gib * GIB:
            return
        gib = min(self.used, 2**90) / GIB  # a header may claim numbers beyond any float
        raise ValueError(
            f"{what or self.where} takes {gib:,.1f} GiB once it is unpacked, more than the"
            f" {self.max_gib:g} GiB allowed; if you trust the data and have the memory, allow more"
            f" with --max-gib {int(gib) + 1} (max_gib={int(gib) + 1})"
        )
