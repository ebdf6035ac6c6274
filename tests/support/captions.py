"""A tokenizer small enough to train in a test."""

from __future__ import annotations

from functools import cache
from itertools import product

from inkdrop.conditioning.tokenizer import Tokenizer, train_tokenizer

COLOURS, THINGS, PLACES = ("red", "green", "붉은"), ("dog", "unhappy cat", "집"), ("hill", "sea")
CAPTIONS = [f"a {c} {t} on the {p}" for c, t, p in product(COLOURS, THINGS, PLACES)]


@cache
def tokenizer() -> Tokenizer:
    """Every word of the captions is one token."""
    return train_tokenizer(CAPTIONS, 400)
