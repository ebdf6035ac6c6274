"""How data is opened: one frozen value, handed to the opener of each kind.

It loads without torch and numpy, so that the command line can list its options.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from inkdrop.config import choose, option

if TYPE_CHECKING:
    from inkdrop.data.pictures.buckets import Buckets


@dataclass(frozen=True)
class DataOptions:
    """How data is read; buckets: as several sizes, see `open_buckets`."""

    medium: str | None = option(
        None,
        "What the samples are: picture or series.",
        unset="series for arrays [N, C, L] of up to 4 channels, else pictures",
    )
    size: int | None = option(
        None,
        "Side of the square pictures in pixels.",
        unset="an array's own; for files 64, or less if over an eighth are smaller",
    )
    channels: int | None = option(
        None, "Channels of pictures: 1 grey, 3 RGB, 4 RGBA.", unset="as the data"
    )
    background: str = option("white", "Colour behind transparent pictures, a name or #rrggbb.")
    image: str | None = option(
        None,
        "Column of a table with the pictures or their file names, or array of an .npz.",
        unset="the usual names",
        metavar="COLUMN",
    )
    label: str | None = option(
        None,
        "Column of a table, or array of an .npz, with the labels.",
        unset="the usual names",
        metavar="COLUMN",
    )
    caption: str | None = option(
        None,
        "Column with the captions, each a text or a list, or suffix of text files beside pictures.",
        unset="the usual names",
        metavar="COLUMN",
    )
    split: str | None = option(
        None, "Part of divided data to use, such as train.", unset="all parts"
    )
    max_gib: float = option(8.0, "The most GiB that the data of one file may unpack to.")
    buckets: Buckets | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(
                f"size is the side of a picture in pixels, at least 1, not {self.size}"
            )
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1, not {self.channels}")
        if not 0 < self.max_gib < 1e9:
            raise ValueError(f"max_gib is {self.max_gib}: it must be a number of GiB above 0")
        # Lazily, because both load torch.
        from inkdrop.media.pixels import parse_colour
        from inkdrop.registry import MEDIA

        if self.medium is not None:
            choose("medium", self.medium, MEDIA)
        parse_colour(self.background)

    def only_pictures(self, where: str) -> None:
        """ValueError if another medium was asked for than the one that this kind of data holds."""
        if self.medium not in (None, "picture"):
            raise ValueError(
                f"{where} holds pictures; {self.medium} is read from .npy and .npz arrays, so leave"
                " out the medium"
            )

    def refuse(self, where: str, *unused: str) -> None:
        """ValueError if one of these fields was set: data of this kind has no such thing."""
        for field in unused:
            value = getattr(self, field)
            if value is not None:
                raise ValueError(f"{where} has no choice of {field}; leave out {field}={value!r}")
