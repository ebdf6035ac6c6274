"""Files that a request names, such as a LoRA or a mask: their path, digest and weight."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from inkdrop.files import must_exist

DIGITS = 16  # of the sha256 that settings keep: enough to tell files apart


@dataclass(frozen=True)
class Added:
    """A file or a folder: its path as it was given, its content's sha256, and its weight."""

    path: str
    sha256: str
    weight: float = 1.0

    @staticmethod
    def of(text: str, what: str, *, weighed: bool = False) -> Added:
        """The file that a command line names; weighed: FILE:WEIGHT may give it a weight."""
        path, colon, end = text.rpartition(":")
        if not weighed or not colon or Path(text).exists():
            return Added(text, _sha256(must_exist(text, what)))
        try:
            weight = float(end)
        except ValueError:
            return Added(text, _sha256(must_exist(text, what)))
        return Added(path, _sha256(must_exist(path, what)), weight)

    def check(self, what: str, option: str) -> None:
        """ValueError unless the file is there and still the same."""
        if not Path(self.path).exists():
            raise ValueError(
                f"the picture was made with the {what} {self.path}, which is not there; say where"
                f" it is now with {option}"
            )
        found = _sha256(Path(self.path))
        if found != self.sha256:
            raise ValueError(
                f"the picture was made with another {what} than {self.path} is now: its sha256"
                f" began with {self.sha256}, not {found}; say where the old one is with {option}"
            )


def _sha256(path: Path) -> str:
    """The first digits of the sha256 of a file; of a folder its fingerprint."""
    if path.is_dir():
        from inkdrop.digest import fingerprint  # which loads torch

        return fingerprint(path)
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGITS]
