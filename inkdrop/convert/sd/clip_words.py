"""CLIP's byte-pair vocabulary, which single files assume but do not hold (Radford et al. 2021)."""

from __future__ import annotations

import gzip
from functools import cache
from pathlib import Path

from inkdrop.conditioning.foreign import clip_tokenizer
from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START

FILE = Path(__file__).parent / "clip" / "bpe_simple_vocab_16e6.txt.gz"
SIZE = 49408
# CLIP uses the first of the file's pairs, as many as fill it up beside bytes, start and end.
_PAIRS = SIZE - 2 * 256 - 2


@cache
def usual_tokenizer() -> Tokenizer:
    """The tokenizer with 49,408 entries that all versions of Stable Diffusion share."""
    pairs = _merges()
    tokens = [*_bytes(), *(letter + "</w>" for letter in _bytes()), *map("".join, pairs)]
    vocabulary = {token: number for number, token in enumerate([*tokens, CLIP_START, CLIP_END])}
    return clip_tokenizer(vocabulary, pairs)


def _merges() -> tuple[tuple[str, str], ...]:
    lines = gzip.decompress(FILE.read_bytes()).decode("utf-8").split("\n")
    pairs = (line.split(" ") for line in lines[1 : 1 + _PAIRS])  # the first line is a version
    return tuple((first, second) for first, second in pairs)


def _bytes() -> list[str]:
    """A character for each byte, in CLIP's order: printable ones first, as themselves."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    return [*map(chr, plain), *(chr(256 + n) for n in range(256 - len(plain)))]
