"""Files that a request names, such as a LoRA or a mask: their path, digest and weight."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from inkdrop.files import must_exist

DIGITS = 16  # hex digits of the sha256 kept in settings: enough to tell files apart


@dataclass(frozen=True)
class Added:
    """A file or folder: its path as given, the first digits of its sha256, and its weight."""

    path: str
    sha256: str
    weight: float = 1.0

    @staticmethod
    def of(text: str, what: str, *, weighed: bool = False) -> Added:
        """A file named on the command line; weighed: it may be FILE:WEIGHT.

        what: a noun for the message. ValueError if the file does not exist.
        """
        path, colon, end = text.rpartition(":")
        if not weighed or not colon or Path(text).exists():
            return Added(text, _sha256(must_exist(text, what)))
        try:
            weight = float(end)
        except ValueError:
            return Added(text, _sha256(must_exist(text, what)))
        return Added(path, _sha256(must_exist(path, what)), weight)

    def check(self, what: str, option: str) -> None:
        """ValueError unless the file exists and is unchanged."""
        if not os.path.lexists(self.path):
            raise ValueError(
                f"the picture was made with the {what} {self.path}, which does not exist; give its"
                f" new path with {option}"
            )
        found = _sha256(must_exist(self.path, what))
        if found != self.sha256:
            raise ValueError(
                f"the {what} {self.path} has changed since the picture was made: its sha256 began"
                f" with {self.sha256} and now begins with {found}; give the path of the original"
                f" with {option}"
            )


@dataclass(frozen=True)
class AddedWord(Added):
    """The file of an embedding, and the word that it becomes in prompts; "" for its own."""

    word: str = ""

    @staticmethod
    def named(text: str) -> AddedWord:
        """An embedding named on the command line, as FILE or FILE=WORD; ValueError as in `of`."""
        file, equals, word = text.rpartition("=")
        if not equals or Path(text).exists():
            file, word = text, ""
        elif not word.strip():
            raise ValueError(f"the embedding {text} names no word after '='; leave out the '='")
        return AddedWord(file, _sha256(must_exist(file, "embedding")), word=word)


def _sha256(path: Path) -> str:
    """The first digits of a file's sha256, or a folder's fingerprint."""
    if path.is_dir():
        from inkdrop.digest import fingerprint  # here, because it loads torch

        return fingerprint(path)
    with path.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()[:DIGITS]
