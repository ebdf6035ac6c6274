"""Textual inversion (Gal et al. 2022): words of prompts that stand for vectors somebody trained.

Read are the files of diffusers, of A1111's web interface and those of SDXL, which hold a vector for
each of its encoders. A word goes into a new model: the one that is given stays as it was and shares
all weights but the table of tokens, which grows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from inkdrop.conditioning.text import Text
from inkdrop.convert.adapters.parts import FIRST, SECOND, texts_of, with_texts, with_weights
from inkdrop.convert.files.fill import check_floats
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.report import shapes_of
from inkdrop.convert.sd.foreign import PLAIN, ReadOptions
from inkdrop.files import must_exist
from inkdrop.model import Model
from inkdrop.networks.clip import Clip
from inkdrop.weights import listed

# What files call the vectors of SDXL's encoders; "" where a model has one encoder.
PARTS = {"clip_l": FIRST, "clip_g": SECOND}
# The names of vectors in A1111's files, which are called as the word is.
UNNAMED = ("emb_params", "string_to_param.*")
# Widths of encoders, and the families that read one of them.
WIDTHS = {768: "sd1", 1024: "sd2", 1280: "sdxl"}
MOST = 75  # vectors of a word: more than a chunk of CLIP's holds

# Of every word: for each encoder its vectors [n, D].
Words = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Words with their vectors, as they were found in a file."""

    path: Path
    words: Words

    def lines(self) -> list[str]:
        """What it is, as `inkdrop info` prints it."""
        return [
            "layout: an embedding (textual inversion)",
            *(
                f"the word {word!r}: {len(value)} vector{'s'[: len(value) - 1]} of {value.shape[1]}"
                f"{f' for {part}' if part else ''}, of {_family(vectors)}"
                for word, vectors in self.words.items()
                for part, value in vectors.items()
            ),
        ]


def read_embedding(
    path: str | Path, name: str | None = None, options: ReadOptions = PLAIN
) -> Embedding:
    """The words in a file; name: of the only one, by default what the file says, or is called.

    ValueError in one line for a file of another kind, or with numbers that are not finite.
    """
    path = must_exist(path, "embedding")
    weights = open_file(path, options).weights
    check_floats(str(path), weights)
    unnamed = [each for each in UNNAMED if each in weights]
    if unnamed and len(weights) == 1:
        words = {path.stem: {"": unnamed[0]}}
    elif weights and set(weights) <= set(PARTS):
        words = {path.stem: {part: part for part in PARTS if part in weights}}
    else:
        words = {word: {"": word} for word in weights}
    if not weights:
        raise ValueError(f"{path} holds no words")
    strange = [each for each, value in weights.items() if len(value.shape) not in (1, 2)]
    if strange or len(words) > MOST:
        some = strange or list(weights)
        raise ValueError(
            f"{path} is no embedding: it has {len(some)} weights that are no vectors:"
            f" {listed(shapes_of(weights, some))}"
        )
    if name is not None:
        if len(words) > 1:
            raise ValueError(f"{path} holds the words {', '.join(words)}; one name is not enough")
        words = {name: next(iter(words.values()))}
    read = {w: {p: weights[each].read() for p, each in own.items()} for w, own in words.items()}
    return Embedding(path, checked(read, str(path)))


def checked(words: Words, where: str) -> dict[str, dict[str, Tensor]]:
    """The words with their vectors as [n, D]; ValueError for what is none."""
    found = dict[str, dict[str, Tensor]]()
    for word, vectors in words.items():
        if not word.strip() or not word.isprintable():
            raise ValueError(f"{where}: an embedding's word is {word!r}; give it a name")
        found[word] = {part: value.reshape(-1, value.shape[-1]) for part, value in vectors.items()}
        for value in found[word].values():
            if not 1 <= len(value) <= MOST:
                raise ValueError(f"{where}: {word!r} has {len(value)} vectors, not 1 to {MOST}")
            if not bool(value.isfinite().all()):
                raise ValueError(f"{where}: {word!r} has NaN or infinite numbers; it is damaged")
        if len({len(value) for value in found[word].values()}) > 1:
            raise ValueError(f"{where}: {word!r} has not as many vectors for each encoder")
    return found


def with_embedding(
    model: Model, embedding: Embedding | str | Path, name: str | None = None,
    options: ReadOptions = PLAIN,
) -> Model:  # fmt: skip
    """A new model that reads a word, by the name given or the file's, as the vectors of a file.

    A word is found in prompts where it stands by itself, in capitals or not, with any weight.
    ValueError in one line for vectors that are not of this model's encoders.
    """
    if isinstance(embedding, Embedding):
        if name is not None:
            raise ValueError("a name is for a file; `read_embedding` takes it")
        return with_words(model, embedding.words, str(embedding.path))
    found = read_embedding(embedding, name, options)
    return with_words(model, found.words, str(found.path))


def with_words(model: Model, words: Words, where: str) -> Model:
    """A new model that reads these words; where: what errors call their file."""
    words = checked(words, where)
    texts = texts_of(model.text)
    if not texts:
        raise ValueError(f"{where} is for CLIP's text encoders, but this model has none")
    own = {word: _for_model(texts, vectors, word, where) for word, vectors in words.items()}
    changed = {
        name: _taught(text, {word: vectors[name] for word, vectors in own.items()}, where)
        for name, text in texts.items()
    }
    return with_texts(model, changed)


def _for_model(
    texts: Mapping[str, Text], vectors: Mapping[str, Tensor], word: str, where: str
) -> dict[str, Tensor]:
    """The vectors of a word for each encoder; ValueError unless all have some of their width."""
    names = {part: texts_name for part, texts_name in PARTS.items() if texts_name in texts}
    alone = names == {"clip_l": FIRST}
    wanted = {"": FIRST} if alone else names
    widths = {part: texts[name].encoder.width for part, name in wanted.items()}
    # The refiner reads clip_g alone, and what is for SDXL has both.
    spare = set(vectors) - set(wanted) if not alone and len(wanted) == 1 else set()
    found = {part: value.shape[1] for part, value in vectors.items() if part not in spare}
    if found != widths:
        raise ValueError(
            f"{where}: {word!r} has vectors of {_told(found or vectors)}, as {_family(vectors)} has"
            f" them, but this model's text reads {_told(widths)}"
        )
    return {wanted[part]: vectors[part] for part in wanted}


def _told(widths: Mapping[str, Any]) -> str:
    numbers = {p: w if isinstance(w, int) else w.shape[1] for p, w in widths.items()}
    return " and ".join(f"{w} for {part}" if part else str(w) for part, w in numbers.items())


def _family(vectors: Mapping[str, Tensor]) -> str:
    """The family that has an encoder of such a width."""
    if set(vectors) & set(PARTS):
        return "sdxl"
    width = next(iter(vectors.values())).shape[1]
    return WIDTHS.get(width, f"no family here ({width})")


def _taught(text: Text, words: Mapping[str, Tensor], where: str) -> Text:
    """The text with words more: their ids follow those of its encoder."""
    encoder = cast(Clip, text.encoder)
    first, ids = encoder.vocabulary, dict[str, tuple[int, ...]]()
    for word, vectors in words.items():
        if word.casefold() in (old.casefold() for old in (*text.tokenizer.words, *ids)):
            raise ValueError(f"{where}: this model has a word {word!r} already; give another name")
        ids[word] = tuple(range(first, first + len(vectors)))
        first += len(vectors)
    tokenizer = dataclasses.replace(text.tokenizer, words={**text.tokenizer.words, **ids})
    grown = _grown(encoder, torch.cat(list(words.values())))
    return dataclasses.replace(text, tokenizer=tokenizer, encoder=grown)


def _grown(encoder: Clip, vectors: Tensor) -> Clip:
    """A copy of an encoder with vectors behind its table of tokens; all else is shared."""
    old = encoder.embedding.weight
    table = torch.cat([old, vectors.to(old)])
    made = with_weights(encoder, {"embedding.weight": table})
    made.embedding.num_embeddings = len(table)
    made.config = dataclasses.replace(encoder.config, vocabulary=len(table))
    return made
