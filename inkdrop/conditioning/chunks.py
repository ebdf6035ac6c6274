"""Prompts as token ids, split into chunks that fit an encoder's context; nothing is truncated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, groupby
from typing import NamedTuple

import torch
from torch import Tensor

from inkdrop.conditioning.prompt import parse
from inkdrop.conditioning.tokenizer import Piece, Tokenizer, sound

LONGEST = 10_000  # characters of a prompt


class Tokens(NamedTuple):
    """Tokenized prompts, on the CPU: [prompts, chunks, length] each.

    ids: int64; mask: bool, True = a token to read; weights: float32, 1 where none is given.
    """

    ids: Tensor
    mask: Tensor
    weights: Tensor


@dataclass(frozen=True)
class Padding:
    """Padding of chunks to a fixed length with a token that is not masked (Stable Diffusion)."""

    id: int
    length: int


def tokenize(
    tokenizer: Tokenizer, prompts: Sequence[str], context: int, padding: Padding | None = None
) -> Tokens:
    """Prompts in the grammar of `prompt.parse` -> their tokens, in chunks of at most `context`.

    A word that does not fit moves to the next chunk as a whole, unless it is longer than a chunk. A
    token's weight is the mean over its non-space characters, so brackets affect the weights but
    never the ids.

    A BREAK ends a chunk, as it does in A1111: one at the end of a prompt adds none, and one at its
    beginning leaves the first chunk without words.

    With padding every chunk has `padding.length` tokens, all of them unmasked. The chunks that a
    shorter prompt lacks are masked, so its encoding does not depend on the other prompts.
    ValueError for a prompt that is not a string, is longer than 10,000 characters, has a weight
    beyond +-100 or the syntax of another program.
    """
    if isinstance(prompts, str) or not prompts:
        raise ValueError(f"prompts is {prompts!r}; give a list of at least one string")
    start, end = tokenizer.frame
    room = context - len(start) - len(end)
    if room < 1:
        raise ValueError(
            f"a context of {context} tokens leaves no room for words, since the tokenizer adds"
            f" {len(start) + len(end)} special tokens to each chunk; give a longer context"
        )
    rows = []
    for prompt in prompts:
        parts = _weighed(tokenizer, prompt)
        chunks = chain.from_iterable(_chunks(body, room) for body in parts)
        rows.append([_framed(chunk, start, end) for chunk in chunks])
    return _stacked(rows if padding is None else _filled(rows, padding))


_Row = list[tuple[int, float]]  # ids with their weights


def words_in(tokenizer: Tokenizer, prompt: str) -> set[str]:
    """The tokenizer's extra words that stand in a prompt."""
    parts = _parts(tokenizer, prompt)
    return {word for text, _ in parts for word in tokenizer.words_in(text)}


def plain(tokenizer: Tokenizer, prompt: str) -> str:
    """The text of a prompt without its syntax."""
    return " ".join(text for text, _ in _parts(tokenizer, prompt))


def _weighed(tokenizer: Tokenizer, prompt: str) -> list[list[tuple[Piece, float]]]:
    """The pieces of each part between BREAKs, with their weights."""
    return [
        [(piece, _weight(text, weights, piece)) for piece in tokenizer.pieces(text)]
        for text, weights in _parts(tokenizer, prompt)
    ]


def _parts(tokenizer: Tokenizer, prompt: str) -> list[tuple[str, list[float]]]:
    """The text of each part between BREAKs, and the weight of every character."""
    if not isinstance(prompt, str):
        raise ValueError(f"a prompt is {prompt!r}; it must be a string")
    if len(prompt) > LONGEST:
        raise ValueError(
            f"the prompt has {len(prompt)} characters; shorten it to at most {LONGEST}"
        )
    parts = parse(sound(prompt), tokenizer.written)
    if len(parts) > 1 and not parts[-1]:
        parts = parts[:-1]
    return [
        (
            "".join(text for text, _ in segments),
            list(chain.from_iterable([weight] * len(text) for text, weight in segments)),
        )
        for segments in parts
    ]


def _weight(text: str, weights: list[float], piece: Piece) -> float:
    places = range(piece.start, piece.stop)
    # Byte-level tokenizers put a space into the token of the next word, and only that word's
    # characters count for the token's weight.
    counted = [weights[i] for i in places if not text[i].isspace()] or [weights[i] for i in places]
    if len(set(counted)) == 1:
        return counted[0]
    return sum(counted) / len(counted) if counted else 1.0


def _chunks(body: list[tuple[Piece, float]], room: int) -> list[_Row]:
    """At least one chunk, each of at most `room` tokens, split between words where possible."""
    chunks: list[_Row] = [[]]
    for _, group in groupby(body, key=lambda item: item[0].word):
        word = [(piece.id, weight) for piece, weight in group]
        if len(chunks[-1]) + len(word) > room and chunks[-1] and len(word) <= room:
            chunks.append([])
        while word:
            free = room - len(chunks[-1])
            chunks[-1] += word[:free]
            word = word[free:]
            if word:
                chunks.append([])
    return chunks


def _framed(chunk: _Row, start: tuple[int, ...], end: tuple[int, ...]) -> _Row:
    return [*((id, 1.0) for id in start), *chunk, *((id, 1.0) for id in end)]


def _filled(rows: list[list[_Row]], padding: Padding) -> list[list[_Row]]:
    """The chunks of each prompt, padded to one length."""
    filler = (padding.id, 1.0)
    return [[c + [filler] * (padding.length - len(c)) for c in chunks] for chunks in rows]


def _stacked(rows: list[list[_Row]]) -> Tokens:
    length = max(len(chunk) for chunks in rows for chunk in chunks)
    shape = len(rows), max(map(len, rows)), length
    tokens = Tokens(torch.zeros(shape).long(), torch.zeros(shape).bool(), torch.ones(shape))
    for i, chunks in enumerate(rows):
        for j, chunk in enumerate(chunks):
            ids, weights = zip(*chunk, strict=True)
            tokens.ids[i, j, : len(chunk)] = torch.tensor(ids)
            tokens.mask[i, j, : len(chunk)] = True
            tokens.weights[i, j, : len(chunk)] = torch.tensor(weights)
    return tokens
