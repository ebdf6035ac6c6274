"""Tokenizers: byte-level pair encoding trained on captions, and any of the `tokenizers` library.

Byte-level (Radford et al. 2019, section 2.2): the alphabet is the 256 bytes of UTF-8, so no text is
without an encoding and there is no token for "unknown".
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inkdrop.files import replacing

if TYPE_CHECKING:
    import tokenizers

FILE = "tokenizer.json"
START, END = "<|start|>", "<|end|>"


class Piece(NamedTuple):
    """One token of a text: its id, the characters it stands for, and the number of its word."""

    id: int
    start: int
    stop: int
    word: int


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text -> pieces, without truncation; texts that spell a special token are plain text.

    It changes its backend to be so, and so owns it.
    """

    backend: tokenizers.Tokenizer

    def __post_init__(self) -> None:
        self.backend.no_truncation()
        self.backend.no_padding()
        self.backend.encode_special_tokens = True

    @cached_property
    def size(self) -> int:
        """One above the largest id."""
        return 1 + max(self.backend.get_vocab().values(), default=-1)

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids of the special tokens before and after any text."""
        found = self.backend.encode("a")
        inside = [place for place, special in enumerate(found.special_tokens_mask) if not special]
        if not inside:
            raise ValueError("the tokenizer makes no token of the letter 'a'; train another")
        return tuple(found.ids[: inside[0]]), tuple(found.ids[inside[-1] + 1 :])

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a sound text in order, without the frame."""
        found = self.backend.encode(text, add_special_tokens=False)
        rows = zip(found.ids, found.offsets, found.word_ids, strict=True)
        return [Piece(id, *offsets, -1 if word is None else word) for id, offsets, word in rows]

    def write(self, folder: str | Path) -> None:
        """Writes tokenizer.json into a folder."""
        with replacing(Path(folder) / FILE) as part:
            part.write_text(self.backend.to_str(pretty=True) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: str | Path, *, vocabulary: int) -> Tokenizer:
        """The tokenizer in a model folder, for a text encoder of so many ids.

        ValueError in words if it is missing, broken, frames no text or has too many entries.
        """
        import tokenizers

        path = Path(folder) / FILE
        if not path.is_file():
            raise ValueError(f"there is no {FILE} in {folder}; a model that reads text has one")
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(f"{path} is truncated or not a tokenizer ({error})") from None
        tokenizer = Tokenizer(backend)
        tokenizer.check(vocabulary, str(path))
        return tokenizer

    def check(self, vocabulary: int, where: str) -> None:
        """ValueError if an encoder of so many ids lacks one, or the empty prompt has no token."""
        if self.size > vocabulary:
            raise ValueError(
                f"{where} has {self.size} entries but the text encoder's vocabulary is"
                f" {vocabulary}; it belongs to another model"
            )
        if not any(self.frame):
            raise ValueError(
                f"{where} puts no special token around a text, so the empty prompt has no token;"
                " give it a post-processor that does"
            )


def sound(text: str) -> str:
    """The text with its surrogate pairs joined and lone halves as U+FFFD, so that it has UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level tokenizer of at most `vocabulary` entries, fitted to captions.

    Text is normalized by NFKC, lower-cased, and its white space made single spaces. The order of
    the captions does not matter. ValueError below 258: the bytes and the two special tokens.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, trainers

    least = len(pre_tokenizers.ByteLevel.alphabet()) + 2
    if vocabulary < least:
        raise ValueError(
            f"vocabulary is {vocabulary} but must be at least {least}: every byte, a start, an end"
        )
    backend = Backend(models.BPE())
    _equip(backend)
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    backend.train_from_iterator((sound(caption) for caption in captions), trainer)
    return Tokenizer(backend)


def _equip(backend: tokenizers.Tokenizer) -> None:
    """Everything around the pairs: normalization, words, bytes, the frame."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    # With a space before it the first word is the token it is anywhere else.
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
