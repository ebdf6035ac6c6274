"""How data is opened: one frozen value, handed to the opener of each kind."""

from __future__ import annotations

from dataclasses import dataclass

from inkdrop.config import choose
from inkdrop.data.pictures.buckets import Buckets
from inkdrop.media.pixels import parse_colour
from inkdrop.registry import MEDIA


@dataclass(frozen=True)
class DataOptions:
    """How data is read; see `open_data`, and for buckets `open_buckets`, for what fields mean."""

    medium: str | None = None
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
