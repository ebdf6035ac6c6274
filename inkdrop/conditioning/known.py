"""What a model has read in training: the names it learned, and all words of its captions.

A model folder keeps it in captions.tsv. After a first line that says whether all captions are in
it, every line is a name and, after a tab, further words that were read with it. Lines without a
name have words that were read with any.
"""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from inkdrop.conditioning.words import CONTINUOUS
from inkdrop.files import replacing

FILE = "captions.tsv"
MOST_NAMES, LONGEST_NAME = 2_000, 80  # of captions that are kept as names
MOST_WORDS, MOST_BYTES = 100_000, 16 << 20
MOST_SHOWN, SHOWN = 1_600, 100  # names that `info` lists: all if there are not more, else a few
NEAR = 0.8  # how much alike two words are, from 0 to 1, to take one for a misspelling
PART = 4  # letters of a word inside another, to take it for a part of it
_HEADS = {"all captions": True, "some captions": False}

# A word: a letter of a script without spaces, a run of others (Hangul has spaces), or an emoji.
_HANGUL = "\u1100-\u11ff\u3130-\u318f\ua960-\ua97f\uac00-\ud7ff"
_LETTER = rf"(?![{_HANGUL}]){CONTINUOUS}"
_WORD = re.compile(rf"{_LETTER}|(?:(?!{_LETTER})[^\W_])+|[\u2190-\u2bff\U0001f000-\U0001faff]")
# Words that names and prompts are not told apart by.
_SMALL = frozenset(
    ["a", "an", "and", "at", "by", "for", "from", "in", "is", "of", "on", "or", "the", "to", "with"]
)


def words_of(text: str) -> list[str]:
    """The words of a text, in lower case and without white space, marks and articles."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return [word for word in _WORD.findall(plain) if word not in ("a", "an", "the")]


@dataclass(frozen=True)
class Known:
    """The names that a model learned, each with all words read with it, and its other words.

    whole: whether all captions are among the names
    """

    names: Mapping[str, frozenset[str]]
    others: frozenset[str]
    whole: bool

    @staticmethod
    def of(captions: Iterable[str]) -> Known:
        """What captions teach: short ones are names, the most frequent first."""
        counted = Counter(" ".join(caption.split()) for caption in captions)
        ranked = sorted(counted, key=lambda text: (-counted[text], text))
        short = [text for text in ranked if text and len(text) <= LONGEST_NAME][:MOST_NAMES]
        names = {text: frozenset(words_of(text)) for text in short}
        told = frozenset[str]().union(*names.values())
        read = Counter(word for text in ranked for word in words_of(text))
        others = (word for word, _ in read.most_common(MOST_WORDS) if word not in told)
        return Known(names, frozenset(others), len(names) == len(counted))

    @cached_property
    def words(self) -> frozenset[str]:
        """All words that were read."""
        return self.others.union(*self.names.values())

    def strange(self, text: str) -> list[str]:
        """The words of a text that were never read, each once."""
        return [word for word in dict.fromkeys(words_of(text)) if word not in self.words]

    def has_any(self, text: str) -> bool:
        """Whether any word of a text but the smallest was read."""
        return any(word in self.words for word in words_of(text) if word not in _SMALL)

    def together(self, text: str) -> bool:
        """Whether some caption has all words of a text, as far as that can be told."""
        wanted = {word for word in words_of(text) if word not in _SMALL | self.others}
        return not self.whole or any(wanted <= words for words in self.names.values())

    def nearest(self, text: str, count: int = 5) -> list[str]:
        """The names that have most words in common with a text; misspelt words count as meant."""
        wanted = set(words_of(text)) - _SMALL
        for word in self.strange(text):
            wanted.update(difflib.get_close_matches(word, self.words, n=2, cutoff=NEAR))
            wanted.update(each for each in self.words if len(each) >= PART and each in word)
        ranked = list[tuple[float, float, str]]()
        for name, words in self.names.items():
            if shared := len(wanted & words):
                ranked.append((-shared, -shared / len(words), name))
        return [name for _, _, name in sorted(ranked)[:count]]

    def write(self, folder: Path) -> None:
        """Write captions.tsv into a folder."""
        lines = [next(head for head, whole in _HEADS.items() if whole == self.whole)]
        for name, words in self.names.items():
            lines.append(f"{name}\t{' '.join(sorted(words.difference(words_of(name))))}".rstrip())
        lines.append("\t" + " ".join(sorted(self.others)))
        with replacing(folder / FILE) as part:
            part.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Known | None:
        """What a model folder says; None if it says nothing. ValueError for a broken file."""
        path = folder / FILE
        if not path.is_file():
            return None
        if path.stat().st_size > MOST_BYTES:
            raise ValueError(f"{path} is larger than {MOST_BYTES >> 20} MiB; remove it")
        try:
            head, *lines = path.read_text(encoding="utf-8").splitlines()
            whole = _HEADS[head]
        except (ValueError, KeyError):
            raise ValueError(
                f"{path} does not begin with one of the lines {', '.join(_HEADS)}; remove it, or"
                " get the model again"
            ) from None
        names, others = dict[str, frozenset[str]](), set[str]()
        for line in lines:
            name, _, more = line.partition("\t")
            if name:
                names[name] = frozenset((*words_of(name), *more.split()))
            else:
                others.update(more.split())
        return Known(names, frozenset(others), whole)

    def lines(self) -> list[str]:
        """What was read, as `inkdrop info` prints it: the number of words, and all names."""
        named = "names it learned" if self.whole else "some of the captions it learned"
        shown = list(self.names)[: SHOWN if len(self.names) > MOST_SHOWN else MOST_SHOWN]
        more = len(self.names) - len(shown)
        rest = f" and {more:,} more in {FILE}" if more else ""
        return [
            f"words it has read: {len(self.words):,}",
            f"{named}: {', '.join(shown)}{rest}",
        ]


def listed(words: Sequence[str], most: int = 8) -> str:
    """Words in quotation marks, cut where there are many."""
    shown = ", ".join(map(repr, words[:most]))
    return shown if len(words) <= most else f"{shown} and {len(words) - most} more"
