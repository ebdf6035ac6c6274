"""Syntax of prompts in other programs that has no equal here: refused, never read as words.

Each kind has a pattern and a sentence about what to write instead. A backslash before the first
mark makes it text (`prompt.py`).
"""

from __future__ import annotations

import re
from typing import NamedTuple

LITERAL = "put a backslash before it if it is meant as text"


class Habit(NamedTuple):
    """A pattern of another program's syntax; `about` continues "the prompt has '...', which"."""

    pattern: re.Pattern[str]
    about: str


def _habit(pattern: str, about: str) -> Habit:
    return Habit(re.compile(pattern), about)


CAPITALS = ("AND", "ADDROW", "ADDCOL", "ADDBASE", "ADDCOMM")  # words that are syntax
_TAG = r"(?i:<\s*(?:{})\s*[:\[][^<>]*>)"
_WORD = r"(?<![^\W_])[^\W_]{2,}+"
_ENDS = r"(?=[\s,.;)]|$)"

LORA = re.compile(_TAG.format("lora|lyco|locon"))

HABITS = (
    Habit(
        LORA,
        "loads a LoRA for a whole picture: write it into the prompt of `inkdrop generate`, give"
        " --lora FILE:WEIGHT, or use `with_lora` in Python",
    ),
    _habit(
        r"(?i:<\s*(?:lora|lyco|locon)\s*:[^<>]*$)",
        "begins the tag of a LoRA and has no end: write <lora:boat:0.8>",
    ),
    _habit(
        _TAG.format("hypernet|hypernetwork"),
        "loads a hypernetwork, which is not available here; LoRAs are, with --lora FILE:WEIGHT",
    ),
    _habit(
        _TAG.format("embed|embedding|ti") + r"|(?i:(?<!\w)embedding:[^\s,()]+)",
        "names an embedding that was not given: give its file with --embedding and write its word"
        " alone",
    ),
    _habit(
        _TAG.format("random|wildcard|alternate|fromto|segment|region|object|setvar|var"),
        "is replaced before other programs read a prompt; nothing is replaced here, so write out"
        " the words",
    ),
    _habit(
        r"\bAND\b",
        "joins two prompts in other programs; here --also WORDS WEIGHT adds a prompt, and 'and' is"
        " a word",
    ),
    _habit(
        r"\b(?:ADDROW|ADDCOL|ADDBASE|ADDCOMM)\b",
        "divides a picture into regions, which is not available here; BREAK begins a new chunk",
    ),
    _habit(
        r"\{[^{}|]*+\|[^{}]*+\}",
        "is a random choice in other programs; nothing is chosen at random here, so write out one"
        " of them",
    ),
    _habit(
        r"(?<!\w)__(?=[^\W_]|\*)[\w*/.-]*?__(?!\w)",
        "is a wildcard, replaced by a line of a file in other programs; nothing is replaced here,"
        " so write out the words",
    ),
    _habit(
        rf"(?:{_WORD}|[\"'])\+\++|{_WORD}--+{_ENDS}|\)[+-]+{_ENDS}|\)[0-9]*+\.[0-9]+",
        "is a weight as Compel writes it; here it is (words:1.3)",
    ),
    _habit(
        r"(?<=[\w)\"'])\.(?:and|blend|swap)\(",
        "is Compel's; here weights are (words:1.3), BREAK begins a new chunk, and --also WORDS"
        " WEIGHT adds a prompt",
    ),
    _habit(
        r"(?<!\S)--(?:ar|aspect|no|v|version|s|stylize|q|quality|niji|seed|c|chaos|style|sref|cref"
        r"|iw|tile|w|weird|stop|raw)(?!\S)",
        "is an option inside the prompt; options stand outside of its quotation marks (--size,"
        " --negative, --seed ...)",
    ),
    _habit(
        r"(?<=[^\s:])::(?=\s|-?[0-9.]|$)",
        "is a weight as Midjourney writes it; here it is (words:1.3)",
    ),
)  # fmt: skip

EDITED = (
    "changes the prompt while sampling in other programs, which is not available here; [words]"
    " weakens words, (words:1.3) weighs them, and BREAK begins a new chunk"
)


def check(masked: str, prompt: str) -> None:
    """ValueError, one sentence, for such syntax; masked: the prompt with all literal text hidden.

    Both have the same length.
    """
    for pattern, about in HABITS:
        if found := pattern.search(masked):
            raise refused(prompt[found.start() : found.end()], about)


def refused(found: str, about: str) -> ValueError:
    """The error for syntax that is not read here."""
    shown = found if len(found) <= 40 else f"{found[:40]} ..."
    return ValueError(f"the prompt has {shown!r}, which {about}; {LITERAL}")
