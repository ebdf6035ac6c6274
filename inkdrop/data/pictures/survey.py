"""What the picture files of a data set are, before they are brought into one form."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from inkdrop.media.image import PictureInfo


class DamagedError(ValueError):
    """More pictures than may be skipped cannot be read; reasons: a sentence for each."""

    def __init__(self, message: str, reasons: Sequence[str]) -> None:
        super().__init__(message)
        self.reasons = tuple(reasons)


@dataclass(frozen=True)
class Survey:
    """Picture files by size, in pixels (width, height), and by Pillow's mode.

    skipped: a sentence for each picture that cannot be read; digests: sha256 of each file that can
    """

    sizes: Counter[tuple[int, int]]
    modes: Counter[str]
    skipped: tuple[str, ...]
    digests: tuple[bytes, ...]

    @staticmethod
    def of(
        infos: Mapping[int, PictureInfo],
        digests: Mapping[int, bytes],
        kept: Sequence[int],
        bad: Mapping[int, str],
    ) -> Survey:
        """From headers, digests of files and errors, all by the picture's number."""
        seen = [infos[i] for i in kept]
        return Survey(
            Counter((info.width, info.height) for info in seen),
            Counter(info.mode for info in seen),
            tuple(bad[i] for i in sorted(bad)),
            tuple(digests[i] for i in kept),
        )
