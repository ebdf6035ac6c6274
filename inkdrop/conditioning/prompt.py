"""The grammar of prompts: brackets give words a weight, and BREAK begins a new chunk.

    (word:1.3)  weight 1.3          (word)  weight 1.1          [word]  weight 1 / 1.1

Brackets nest, and their weights multiply. A closing bracket closes the nearest open one of its
kind; brackets opened in between, and any without a partner, are text. A backslash makes the next
mark or BREAK text. Words of embeddings are sought first, so their names may have any marks. The
syntax of other programs that has no equal here is refused (`habits.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from inkdrop.conditioning.habits import CAPITALS, EDITED, LORA, check, refused

STEP = 1.1  # the weight of a plain pair of round brackets
LARGEST = 100.0  # 48 plain pairs; anything above is a typing error

# The texts of a prompt, or of one part of it, with their weights.
Segments = tuple[tuple[str, float], ...]

_MARKS = re.escape("()[]:\\<{|_+-")
_WORDS = "|".join(("BREAK", *CAPITALS))
_ESCAPED = re.compile(rf"\\([{_MARKS}]|(?:{_WORDS})\b)")
_SPECIAL = re.compile(rf"[{_MARKS}]|\b(?:{_WORDS})\b")
_VALUE = r"[ \t]*+([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++))[ \t]*+"
_NUMBER = re.compile(rf":{_VALUE}\)")
_WHEN = re.compile(rf"{_VALUE}\]")  # after a colon: when other programs change the words
_BREAK = re.compile(r"\bBREAK\b\s*")
_PLAIN = {")": STEP, "]": 1 / STEP}


def parse(prompt: str, words: re.Pattern[str] | None = None) -> tuple[Segments, ...]:
    """The parts of a prompt between BREAKs, each as its texts with their weights, in order.

    words: a pattern of words to take as they are written, see `words.in_prompts`
    There is at least one part. In a part no text is empty, and adjacent texts of equal weight are
    merged. ValueError for a weight beyond +-100, and for the syntax of other programs.
    """
    literal = dict(_literals(prompt, words))
    masked = _masked(prompt, literal)
    opened, closed = _pairs(masked, prompt)
    check(masked, prompt)
    breaks = {found.start(): found.end() for found in _BREAK.finditer(masked)}
    parts: list[list[tuple[str, float]]] = [[]]
    weights, place = [1.0], 0
    while place < len(prompt):
        if place in opened:
            weights.append(weights[-1] * opened[place])
            place += 1
        elif place in closed:
            weights.pop()
            place = closed[place]
        elif place in breaks:
            _trim(parts[-1])
            parts.append([])
            place = breaks[place]
        else:
            end, text = literal.get(place, (place + 1, prompt[place]))
            _add(parts[-1], text, weights[-1])
            place = end
    for text, weight in (segment for part in parts for segment in part):
        _check(text, weight)
    return tuple(map(tuple, parts))


def escape(text: str) -> str:
    """The prompt for a literal text, such as a caption: it parses as one text of weight 1."""
    return _SPECIAL.sub(r"\\\g<0>", text)


def lora_tags(prompt: str) -> tuple[str, tuple[str, ...]]:
    """The prompt without its tags such as <lora:name:0.8>, and the tags, in order."""
    masked = _masked(prompt, dict(_literals(prompt, None)))
    kept, tags, place = list[str](), list[str](), 0
    for found in LORA.finditer(masked):
        kept.append(prompt[place : found.start()])
        tags.append(prompt[found.start() : found.end()])
        place = found.end()
    return ("".join([*kept, prompt[place:]]).strip() if tags else prompt), tuple(tags)


def _literals(prompt: str, words: re.Pattern[str] | None) -> Iterator[tuple[int, tuple[int, str]]]:
    """What is text whatever its marks: (index, (index after it, the text))."""
    place = 0
    for found in () if words is None else words.finditer(prompt):
        yield from _escapes(prompt, place, found.start())
        yield found.start(), (found.end(), found["word"])
        place = found.end()
    yield from _escapes(prompt, place, len(prompt))


def _escapes(prompt: str, start: int, stop: int) -> Iterator[tuple[int, tuple[int, str]]]:
    for found in _ESCAPED.finditer(prompt, start, stop):
        yield found.start(), (found.end(), found[1])


def _masked(prompt: str, literal: dict[int, tuple[int, str]]) -> str:
    """The prompt with literal text hidden, of the same length; where it is a word, so is its mask.

    So a neighbour in capitals begins or ends at the same place as in the text itself.
    """
    pieces, place = list[str](), 0
    for start, (end, text) in literal.items():
        hidden = "x" if re.match(r"\w", text[-1]) else "\0"
        pieces += [prompt[place:start], hidden * (end - start)]
        place = end
    return "".join([*pieces, prompt[place:]])


def _pairs(masked: str, prompt: str) -> tuple[dict[int, float], dict[int, int]]:
    """The brackets with a partner: {opening index: weight}, {closing index: index after the pair}.

    The closing index is that of the bracket, or of the colon before a number. ValueError for square
    brackets that would change the prompt while sampling.
    """
    opened, closed = dict[int, float](), dict[int, int]()
    waiting, place = _Waiting(), 0
    while place < len(masked):
        mark, number = masked[place], _NUMBER.match(masked, place)
        end = number.end() if number else place + 1
        if mark in "([":
            waiting.add(place, mark)
        elif number or mark in ")]":
            start = waiting.take("[" if mark == "]" else "(")
            if start is not None:
                opened[start] = float(number[1]) if number else _PLAIN[mark]
                closed[place] = end
                if mark == "]" and _edited(masked, start, place):
                    raise refused(prompt[start:end], EDITED)
        place = end
    return opened, closed


def _edited(masked: str, start: int, stop: int) -> bool:
    """Whether brackets at these places mean [a|b], [a:0.5] or [a:b:0.5], as A1111 reads them."""
    colon = masked.rfind(":", start, stop)
    return "|" in masked[start:stop] or (colon > 0 and bool(_WHEN.match(masked, colon + 1)))


class _Waiting:
    """Open brackets without a partner so far: a stack that also counts each kind.

    The counts keep parsing linear: a closing bracket with no partner is known without a search.
    """

    def __init__(self) -> None:
        self.stack: list[tuple[int, str]] = []
        self.count = {"(": 0, "[": 0}

    def add(self, place: int, kind: str) -> None:
        self.stack.append((place, kind))
        self.count[kind] += 1

    def take(self, kind: str) -> int | None:
        """Pop the nearest bracket of a kind and all those above it; None if there is none."""
        while self.count[kind]:
            place, found = self.stack.pop()
            self.count[found] -= 1
            if found == kind:
                return place
        return None


def _check(text: str, weight: float) -> None:
    if not abs(weight) <= LARGEST:  # so that a NaN, infinity times 0, is refused too
        raise ValueError(
            f"the prompt gives {text!r} the weight {weight:g}, but weights go from -{LARGEST:g} to"
            f" {LARGEST:g}; put a backslash before a bracket that is meant as text"
        )


def _add(segments: list[tuple[str, float]], text: str, weight: float) -> None:
    if segments and segments[-1][1] == weight:
        text = segments.pop()[0] + text
    segments.append((text, weight))


def _trim(segments: list[tuple[str, float]]) -> None:
    """Remove white space from the end of texts."""
    while segments:
        text, weight = segments.pop()
        if kept := text.rstrip():
            segments.append((kept, weight))
            return
