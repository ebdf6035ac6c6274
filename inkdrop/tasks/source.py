"""What a picture was made from besides words: files, as its settings keep them."""

from __future__ import annotations

from dataclasses import dataclass, replace


@dataclass(frozen=True)
class Source:
    """A file or folder that a picture was made from, and the digest of what was in it then.

    digest: "" as long as nobody looked
    """

    path: str
    digest: str = ""

    def sealed(self, digest: str) -> Source:
        """The same with its digest; ValueError if it was another when the picture was made."""
        if self.digest not in ("", digest):
            raise ValueError(
                f"{self.path} is not what the picture was made from (its digest was"
                f" {self.digest[:16]} and is {digest[:16]}); name it anew to use it as it is now"
            )
        return replace(self, digest=digest)
