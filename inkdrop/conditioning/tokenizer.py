"""Tokenizers: byte-level BPE trained on captions, and any other of the `tokenizers` library.

Byte-level (Radford et al. 2019, section 2.2): the alphabet is the 256 byte values, so every text
has an encoding and no "unknown" token is needed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inkdrop.conditioning.words import grouped, in_prompts
from inkdrop.files import replacing
from inkdrop.weights import read_json

if TYPE_CHECKING:
    import tokenizers

FILE, WORDS = "tokenizer.json", "words.json"
START, END = "<|start|>", "<|end|>"


class Piece(NamedTuple):
    """One token of a text: its id, its characters [start, stop), and the index of its word."""

    id: int
    start: int
    stop: int
    word: int


@dataclass(frozen=True, eq=False)
class Tokenizer:
    """Text -> pieces, without truncation; the spelling of a special token is ordinary text.

    The backend is modified accordingly, so do not use it elsewhere.
    words: extra whole words with their ids (several each), such as textual inversion's
    """

    backend: tokenizers.Tokenizer
    words: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # Only change what must change: other threads may be using a backend that is set up already.
        if self.backend.truncation is not None:
            self.backend.no_truncation()
        if self.backend.padding is not None:
            self.backend.no_padding()
        if not self.backend.encode_special_tokens:
            self.backend.encode_special_tokens = True

    @cached_property
    def size(self) -> int:
        """One above the largest id."""
        own = (id for ids in self.words.values() for id in ids)
        return 1 + max((*self.backend.get_vocab().values(), *own), default=-1)

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids of the special tokens before and after every text."""
        found = self.backend.encode("a")
        inside = [place for place, special in enumerate(found.special_tokens_mask) if not special]
        if not inside:
            raise ValueError("the tokenizer gives no token for the letter 'a'; train another")
        return tuple(found.ids[: inside[0]]), tuple(found.ids[inside[-1] + 1 :])

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a text from `sound`, in order, without the special tokens around it."""
        if not self.words:
            return self._plain(text)
        found, place = list[Piece](), 0
        for match in self._spelled.finditer(text):
            found += self._plain(text[place : match.start()], place, _next_word(found))
            _, ids = self._longest[(match.lastindex or 1) - 1]
            word = _next_word(found)
            found += [Piece(id, match.start(), match.end(), word) for id in ids]
            place = match.end()
        return found + self._plain(text[place:], place, _next_word(found))

    def _plain(self, text: str, place: int = 0, word: int = 0) -> list[Piece]:
        """The tokens of a part without extra words, from character `place` and word `word` on."""
        found = self.backend.encode(text, add_special_tokens=False)
        rows = zip(found.ids, found.offsets, found.word_ids, strict=True)
        return [
            Piece(id, place + start, place + stop, -1 if own is None else word + own)
            for id, (start, stop), own in rows
        ]

    @cached_property
    def _longest(self) -> list[tuple[str, tuple[int, ...]]]:
        """The extra words with their ids, the longest first."""
        return sorted(self.words.items(), key=lambda item: -len(item[0]))

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """A pattern with one group for each extra word; the longest match wins."""
        return grouped([word for word, _ in self._longest])

    @cached_property
    def written(self) -> re.Pattern[str] | None:
        """A pattern for the extra words in prompts, if any; see `words.in_prompts`."""
        return in_prompts(self.words) if self.words else None

    def words_in(self, text: str) -> set[str]:
        """The extra words in a text."""
        found = self._spelled.finditer(text) if self.words else ()
        return {self._longest[(match.lastindex or 1) - 1][0] for match in found}

    def write(self, folder: str | Path) -> None:
        """Write tokenizer.json into a folder, and words.json if there are extra words."""
        texts = {FILE: self.backend.to_str(pretty=True)}
        if self.words:
            texts[WORDS] = json.dumps(self.words, indent=2)
        for name, text in texts.items():
            with replacing(Path(folder) / name) as part:
                part.write_text(text + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: str | Path, *, vocabulary: int) -> Tokenizer:
        """The tokenizer in a model folder, for a text encoder of `vocabulary` ids.

        ValueError if it is missing or broken, adds no special token, or has too many entries.
        """
        import tokenizers

        path = Path(folder) / FILE
        if not path.is_file():
            raise ValueError(
                f"there is no {FILE} in {folder}, which a model with text needs; get the folder"
                " again"
            )
        try:
            backend = tokenizers.Tokenizer.from_str(path.read_text(encoding="utf-8"))
        except Exception as error:  # the library raises nothing more specific
            raise ValueError(
                f"{path} is truncated or not a tokenizer ({error}); get it again"
            ) from None
        words = Path(folder) / WORDS
        tokenizer = Tokenizer(backend, _read_words(words) if words.is_file() else {})
        tokenizer.check(vocabulary, str(path))
        return tokenizer

    def check(self, vocabulary: int, where: str) -> None:
        """ValueError if ids exceed the encoder's vocabulary or the empty prompt has no token."""
        if self.size > vocabulary:
            raise ValueError(
                f"{where} has {self.size} entries but the text encoder's vocabulary is"
                f" {vocabulary}; get the tokenizer of this model"
            )
        if not any(self.frame):
            raise ValueError(
                f"{where} adds no special tokens, so the empty prompt would have no tokens; give it"
                " a post-processor that adds some"
            )


def _next_word(pieces: list[Piece]) -> int:
    return 1 + max((piece.word for piece in pieces), default=-1)


def _read_words(file: Path) -> dict[str, tuple[int, ...]]:
    """The extra words with their ids; ValueError for an invalid file."""
    words = read_json(file)
    for word, ids in words.items():
        whole = isinstance(ids, list) and ids and all(type(id) is int and id >= 0 for id in ids)
        if not word or not whole:
            raise ValueError(f"{file} must map the word {word!r} to a list of ids, not {ids!r}")
    return {word: tuple(ids) for word, ids in words.items()}


def sound(text: str) -> str:
    """The text with surrogate pairs joined and lone ones as U+FFFD, so that it is valid UTF-8."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def train_tokenizer(captions: Iterable[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocabulary` entries, trained on captions.

    Text is normalized by NFKC and lower-cased, and runs of white space become single spaces. The
    order of the captions does not matter. ValueError for a vocabulary below 258, the bytes and two
    special tokens.
    """
    from tokenizers import Tokenizer as Backend
    from tokenizers import models, pre_tokenizers, trainers

    least = len(pre_tokenizers.ByteLevel.alphabet()) + 2
    if vocabulary < least:
        raise ValueError(
            f"vocabulary is {vocabulary} but must be at least {least}: 256 bytes, start and end"
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
    """Set everything but the merges: normalization, words, bytes, special tokens."""
    from tokenizers import Regex, decoders, normalizers, pre_tokenizers, processors

    backend.normalizer = normalizers.Sequence(
        [
            normalizers.NFKC(),
            normalizers.Lowercase(),
            normalizers.Replace(Regex(r"\s+"), " "),
            normalizers.Strip(),
        ]
    )
    # With a space before it, the first word has the same tokens as anywhere else.
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single=f"{START} $A {END}", special_tokens=[(START, 0), (END, 1)]
    )
