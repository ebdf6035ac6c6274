"""How the extra words of a tokenizer, such as those of embeddings, are found in a text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence

# Scripts that are written without spaces, or that attach endings to words of other scripts: Thai,
# Lao, Burmese, Khmer, Hangul, kana, Bopomofo and Han.
_CONTINUOUS = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u30ff\u3100-\u318f\u31a0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\uff66-\uffdc"
    "\U00020000-\U0003ffff"
)
CONTINUOUS = rf"[{_CONTINUOUS}]"
_LETTER = rf"[^\W{_CONTINUOUS}]"  # a letter, digit or underscore of any other script
_ACCENT = r"[\u0300-\u036f]"  # continues the letter before it


def alone(word: str) -> str:
    """A pattern for the word where nothing continues it: no letter, digit or underscore.

    Letters of scripts without spaces do not continue a word, and nothing continues theirs. Both
    Unicode forms of the word match, composed and decomposed.
    """
    whole, apart = (unicodedata.normalize(form, word) for form in ("NFC", "NFD"))
    before, after = (re.match(_LETTER, edge) is not None for edge in (whole[0], whole[-1]))
    spelled = "|".join(map(re.escape, dict.fromkeys((whole, apart))))
    return f"(?<!{_LETTER})" * before + f"(?:{spelled})" + rf"(?!{_LETTER}|{_ACCENT})" * after


def grouped(words: Sequence[str]) -> re.Pattern[str]:
    """A pattern with one group for each word, in any case; earlier ones win."""
    return re.compile("|".join(f"({alone(word)})" for word in words), re.IGNORECASE)


def in_prompts(words: Iterable[str]) -> re.Pattern[str]:
    """A pattern for the words as prompts write them, before any syntax is read.

    The group "word" is the word without ComfyUI's "embedding:". A backslash before a word leaves it
    to the syntax.
    """
    longest = sorted(words, key=len, reverse=True)
    spelled = "|".join(map(alone, longest))
    return re.compile(rf"(?<!\\)(?:(?<!\w)embedding:)?(?P<word>{spelled})", re.IGNORECASE)
