"""The grammar of prompts: brackets give words a weight.

    (word:1.3)  weight 1.3          (word)  weight 1.1          [word]  weight 1 / 1.1

Brackets nest, and their weights multiply. A backslash makes the next `(`, `)`, `[`, `]`, `:` or
backslash literal. A closing bracket closes the nearest open one of its kind; brackets opened in
between, and any without a partner, are text. In square brackets a colon is text.
"""

from __future__ import annotations

import re

STEP = 1.1  # the weight of a plain pair of round brackets
LARGEST = 100.0  # 48 plain pairs; anything above is a typing error

_SPECIAL = "()[]:\\"
_ESCAPED = re.compile(rf"\\([{re.escape(_SPECIAL)}])")
_NUMBER = re.compile(r":[ \t]*+([+-]?(?:[0-9]++(?:\.[0-9]*+)?|\.[0-9]++))[ \t]*+\)")
_PLAIN = {")": STEP, "]": 1 / STEP}


def parse(prompt: str) -> tuple[tuple[str, float], ...]:
    """The texts of a prompt with their weights, in order; no text is empty, and "" gives ().

    Adjacent texts of equal weight are merged. ValueError for a weight beyond +-100.
    """
    opened, closed = _pairs(prompt)
    segments: list[tuple[str, float]] = []
    weights, place = [1.0], 0
    while place < len(prompt):
        if place in opened:
            weights.append(weights[-1] * opened[place])
            place += 1
        elif place in closed:
            weights.pop()
            place = closed[place]
        else:
            escaped = _ESCAPED.match(prompt, place)
            _add(segments, escaped[1] if escaped else prompt[place], weights[-1])
            place = escaped.end() if escaped else place + 1
    for text, weight in segments:
        _check(text, weight)
    return tuple(segments)


def escape(text: str) -> str:
    """The prompt for a literal text, such as a caption: parse(escape(text)) is ((text, 1.0),)."""
    return re.sub(rf"([{re.escape(_SPECIAL)}])", r"\\\1", text)


def _pairs(prompt: str) -> tuple[dict[int, float], dict[int, int]]:
    """The brackets with a partner: {opening index: weight}, {closing index: index after the pair}.

    The closing index is that of the bracket, or of the colon before a number.
    """
    opened, closed = dict[int, float](), dict[int, int]()
    waiting, place = _Waiting(), 0
    while place < len(prompt):
        if escaped := _ESCAPED.match(prompt, place):
            place = escaped.end()
            continue
        mark, number = prompt[place], _NUMBER.match(prompt, place)
        end = number.end() if number else place + 1
        if mark in "([":
            waiting.add(place, mark)
        elif number or mark in ")]":
            start = waiting.take("[" if mark == "]" else "(")
            if start is not None:
                opened[start] = float(number[1]) if number else _PLAIN[mark]
                closed[place] = end
        place = end
    return opened, closed


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
