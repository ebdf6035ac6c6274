"""What a user may ask of any data: one frozen value, handed to the opener of each kind."""

from __future__ import annotations

from dataclasses import dataclass

from inkdrop.data.pictures.buckets import Buckets
from inkdrop.media.image import parse_colour


@dataclass(frozen=True)
class DataOptions:
    """How data is read; see `open_data`, and for buckets `open_buckets`, for what fields mean."""

    size: int | None = None
    channels: int | None = None
    background: str = "white"
    image: str | None = None
    label: str | None = None
    caption: str | None = None
    split: str | None = None
    buckets: Buckets | None = None

    def __post_init__(self) -> None:
        if self.size is not None and self.size < 1:
            raise ValueError(
                f"size is the side of a picture in pixels, at least 1, not {self.size}"
            )
        if self.channels is not None and self.channels < 1:
            raise ValueError(f"channels must be at least 1, not {self.channels}")
        parse_colour(self.background)

    def refuse(self, where: str, *unused: str) -> None:
        """ValueError if one of these fields was set: data of this kind has no such thing."""
        for field in unused:
            value = getattr(self, field)
            if value is not None:
                raise ValueError(f"{where} has no choice of {field}; leave out {field}={value!r}")
