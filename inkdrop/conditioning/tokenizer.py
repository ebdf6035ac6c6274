"""Tokenizers: byte-level pair encoding trained on captions, and any of the `tokenizers` library.

Byte-level (Radford et al. 2019, section 2.2): the alphabet is the 256 bytes of UTF-8, so no text is
without an encoding and there is no token for "unknown".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from inkdrop.files import replacing
from inkdrop.weights import read_json

if TYPE_CHECKING:
    import tokenizers

FILE, WORDS = "tokenizer.json", "words.json"
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
    words: that stand for ids of their own, several each, wherever they are by themselves
    """

    backend: tokenizers.Tokenizer
    words: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        # One that is so already may be read by other threads at this moment.
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
        """The ids of the special tokens before and after any text."""
        found = self.backend.encode("a")
        inside = [place for place, special in enumerate(found.special_tokens_mask) if not special]
        if not inside:
            raise ValueError("the tokenizer makes no token of the letter 'a'; train another")
        return tuple(found.ids[: inside[0]]), tuple(found.ids[inside[-1] + 1 :])

    def pieces(self, text: str) -> list[Piece]:
        """The tokens of a sound text in order, without the frame."""
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
        """The tokens of a part without own words; place and word: where it begins in the whole."""
        found = self.backend.encode(text, add_special_tokens=False)
        rows = zip(found.ids, found.offsets, found.word_ids, strict=True)
        return [
            Piece(id, place + start, place + stop, -1 if own is None else word + own)
            for id, (start, stop), own in rows
        ]

    @cached_property
    def _longest(self) -> list[tuple[str, tuple[int, ...]]]:
        """The words with their ids, the longest first."""
        return sorted(self.words.items(), key=lambda item: -len(item[0]))

    @cached_property
    def _spelled(self) -> re.Pattern[str]:
        """Any of the words, each in a group of its own; the longest that fits is found first."""
        groups = [f"({_alone(word)})" for word, _ in self._longest]
        return re.compile("|".join(groups), re.IGNORECASE)

    def write(self, folder: str | Path) -> None:
        """Writes tokenizer.json into a folder, and words.json if it has words of its own."""
        texts = {FILE: self.backend.to_str(pretty=True)}
        if self.words:
            texts[WORDS] = json.dumps(self.words, indent=2)
        for name, text in texts.items():
            with replacing(Path(folder) / name) as part:
                part.write_text(text + "\n", encoding="utf-8")

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
        words = Path(folder) / WORDS
        tokenizer = Tokenizer(backend, _read_words(words) if words.is_file() else {})
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


def _alone(word: str) -> str:
    """A pattern of the word where no letter or digit goes on with it."""
    before, after = (re.match(r"\w", edge) is not None for edge in (word[0], word[-1]))
    return r"(?<!\w)" * before + re.escape(word) + r"(?!\w)" * after


def _next_word(pieces: list[Piece]) -> int:
    return 1 + max((piece.word for piece in pieces), default=-1)


def _read_words(file: Path) -> dict[str, tuple[int, ...]]:
    """Words with their ids; ValueError for what is none."""
    words = read_json(file)
    for word, ids in words.items():
        whole = isinstance(ids, list) and ids and all(type(id) is int and id >= 0 for id in ids)
        if not word or not whole:
            raise ValueError(f"{file} must say for the word {word!r} a list of ids, not {ids!r}")
    return {word: tuple(ids) for word, ids in words.items()}


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
