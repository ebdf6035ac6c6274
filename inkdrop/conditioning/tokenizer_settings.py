"""What the settings beside a tokenizer of `transformers` say: padding, and words added to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from inkdrop.conditioning.tokenizer import Tokenizer
from inkdrop.config import short
from inkdrop.weights import read_json

T = TypeVar("T", dict[str, Any], list[Any])

SETTINGS, SPECIAL, ADDED = "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"
CLIP_START, CLIP_END = "<|startoftext|>", "<|endoftext|>"
_FRAME = {"bos_token": CLIP_START, "eos_token": CLIP_END}


def padding_id(folder: Path, tokenizer: Tokenizer) -> int:
    """The id of the padding token named in a folder's settings; ValueError if there is none."""
    for file in (SPECIAL, SETTINGS):
        text = _content(_read(folder, file).get("pad_token"))
        found = None if text is None else _id(tokenizer, text)
        if found is not None:
            return found
    raise ValueError(
        f"there is no padding token in {folder}: {SPECIAL} or {SETTINGS} must have a pad_token that"
        " is in the vocabulary"
    )


def padded_length(folder: Path, context: int) -> int:
    """How many tokens prompts are filled up to: the tokenizer's, and at most the encoder's."""
    told = _read(folder, SETTINGS)
    if told.get("padding_side", "right") != "right":
        raise ValueError(
            f"{folder / SETTINGS} has padding_side {short(told['padding_side'])}; prompts are"
            " filled up on the right here"
        )
    most = told.get("model_max_length", context)
    if isinstance(most, bool) or not isinstance(most, int | float) or not most > 2:
        raise ValueError(
            f"{folder / SETTINGS} has model_max_length {short(most)}; it must leave room for words"
        )
    return int(min(most, context))


def check_frame(folder: Path) -> None:
    """ValueError if texts begin or end with other tokens than CLIP's."""
    for file in (SPECIAL, SETTINGS):
        told = _read(folder, file)
        for name, usual in _FRAME.items():
            if _content(told.get(name, usual)) != usual:
                raise ValueError(
                    f"{folder / file} has {name} {short(told[name])}, but CLIP's is {usual}; get"
                    " the folder again"
                )


def added_words(folder: Path, tokenizer: Tokenizer) -> dict[str, tuple[int, ...]]:
    """Whole words added to a vocabulary with their ids, as textual inversion leaves them.

    ValueError for an added word without an id.
    """
    told = _read(folder, SETTINGS)
    found = dict(_read(folder, ADDED))
    for number, about in _of_type(told, "added_tokens_decoder", dict, folder / SETTINGS).items():
        text = _content(about)
        if text is not None and str(number).isdecimal():
            found[text] = int(number)
    own = {word: number for word, number in found.items() if _id(tokenizer, word) is None}
    several, special = "additional_special_tokens", _read(folder, SPECIAL)
    named = [
        *_of_type(told, several, list, folder / SETTINGS),
        *_of_type(special, several, list, folder / SPECIAL),
    ]
    for word in map(_content, named):
        if word is not None and word not in own and _id(tokenizer, word) is None:
            raise ValueError(
                f"{folder} adds the word {short(word)} to the vocabulary without an id; {ADDED}"
                " must give it"
            )
    for word, number in own.items():
        if type(number) is not int or number < 0:
            raise ValueError(
                f"{folder} gives the word {short(word)} the id {short(number)}; get it again"
            )
    return {word: (number,) for word, number in own.items()}


def _of_type(told: Mapping[str, Any], name: str, kind: type[T], file: Path) -> T:
    """A setting of this type, empty where there is none; ValueError for another type."""
    found = told.get(name)
    if found is None:
        return kind()
    if not isinstance(found, kind):
        raise ValueError(f"{file} has {name} {short(found)}, which is not a {kind.__name__}")
    return found


def _read(folder: Path, name: str) -> Mapping[str, Any]:
    return read_json(folder / name) if (folder / name).is_file() else {}


def _content(said: Any) -> str | None:
    """A token that is written as text, or as an object with its content."""
    text = said.get("content") if isinstance(said, Mapping) else said
    return text if isinstance(text, str) else None


def _id(tokenizer: Tokenizer, text: str) -> int | None:
    if text in tokenizer.words:
        return tokenizer.words[text][0]
    found: int | None = tokenizer.backend.token_to_id(text)
    return found
