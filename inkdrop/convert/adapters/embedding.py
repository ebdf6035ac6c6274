"""Textual inversion (Gal et al. 2022): words in prompts that stand for trained vectors.

Files of diffusers and of A1111's web interface are read, and those for SDXL, which hold vectors for
each of its encoders. A word goes into a new model: the given one stays as it was, and both share
all weights but the table of tokens, which grows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from inkdrop.conditioning.text import Text
from inkdrop.config import short
from inkdrop.convert.adapters.lora import EMBED, in_order
from inkdrop.convert.adapters.parts import FIRST, SECOND, texts_of, with_texts, with_weights
from inkdrop.convert.files.fill import check_floats
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.report import shapes_of
from inkdrop.convert.sd.versions import SDXL, encoder_version
from inkdrop.files import must_exist
from inkdrop.model import Model
from inkdrop.networks.clip import Clip
from inkdrop.weights import listed

# The names of the vectors for SDXL's encoders; "" where a model has one encoder.
PARTS = {"clip_l": FIRST, "clip_g": SECOND}
# The names of the vectors in A1111's files; the word is the file's name.
UNNAMED = ("emb_params", "string_to_param.*")
MOST = 75  # vectors of a word, which a chunk of CLIP's holds

# For every word and each encoder, the vectors [n, D].
Words = Mapping[str, Mapping[str, Tensor]]


@dataclass(frozen=True, eq=False)
class Embedding:
    """Words with their vectors, as found in a file.

    made_as: the name inside an A1111 file, if it is not the word
    """

    path: Path
    words: Words
    made_as: str = ""

    def about(self) -> str:
        """Its words, for people."""
        several = len(self.words) > 1
        words = ", ".join(map(repr, self.words))
        old = f" (it was made as {self.made_as!r})" if self.made_as else ""
        return f"{'words are' if several else 'word is'} {words}{old}"

    def lines(self) -> list[str]:
        """The embedding as `inkdrop info` prints it."""
        return [
            "layout: an embedding (textual inversion)",
            *(
                f"the word {word!r}: {len(value)} vector{'s'[: len(value) - 1]} of {value.shape[1]}"
                f"{f' for {part}' if part else ''}, of {_version(vectors)}"
                for word, vectors in self.words.items()
                for part, value in vectors.items()
            ),
            *([f"made as: {self.made_as!r}, but the word is the file's name"] * bool(self.made_as)),
        ]


def read_embedding(
    path: str | Path, name: str | Sequence[str] | None = None, options: ReadOptions = PLAIN
) -> Embedding:
    """The words in a file, which may be a LoRA's that has some.

    name: of the only word, or of each word in order; default: the names in the file or, where it
        has none, that of the file, as A1111 does
    ValueError in one line for a file of another kind, or with numbers that are not finite.
    """
    path = must_exist(path, "embedding")
    file = open_file(path, options)
    own = {n: value for n, value in file.weights.items() if file.metadata.get(n) == EMBED}
    weights = {word: own[word] for word in in_order(own)} or file.weights
    check_floats(str(path), weights)
    unnamed = [each for each in UNNAMED if each in weights]
    made_as = ""
    if unnamed and len(weights) == 1:
        words = {path.stem: {"": unnamed[0]}}
        made_as = file.metadata.get("name", "")
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
            f"{path} is not an embedding: it has {len(some)} weights that are not vectors:"
            f" {listed(shapes_of(weights, some))}"
        )
    if name is not None:
        words = dict(zip(_names(name, list(words), path), words.values(), strict=True))
    read = {w: {p: weights[each].read() for p, each in own.items()} for w, own in words.items()}
    found = checked(read, str(path))
    same = made_as.casefold() in (word.casefold() for word in found)
    return Embedding(path, found, "" if same or not made_as.isprintable() else made_as)


def _names(name: str | Sequence[str], words: Sequence[str], path: Path) -> list[str]:
    """A name for each word of a file."""
    names = [name] if isinstance(name, str) else list(name)
    if len(names) == 1 and len(words) > 1:
        names = [each.strip() for each in names[0].split(",")]
    if len(names) != len(words) or len({each.casefold() for each in names}) < len(names):
        raise ValueError(
            f"{path} holds the words {', '.join(words)}; give each a name of its own, as in"
            f" {','.join(f'word{i}' for i in range(1, len(words) + 1))}, not {','.join(names)!r}"
        )
    return names


def checked(words: Words, where: str) -> dict[str, dict[str, Tensor]]:
    """The words with their vectors as [n, D]; ValueError for anything else."""
    found = dict[str, dict[str, Tensor]]()
    for word, vectors in words.items():
        if not word.strip() or not word.isprintable():
            raise ValueError(f"{where}: an embedding's word is {short(word)}; give it a name")
        if any(value.shape[-1] == 0 for value in vectors.values()):
            raise ValueError(f"{where}: {short(word)} has vectors without numbers; it is damaged")
        found[word] = {part: value.reshape(-1, value.shape[-1]) for part, value in vectors.items()}
        for value in found[word].values():
            if not 1 <= len(value) <= MOST:
                raise ValueError(f"{where}: {word!r} has {len(value)} vectors, not 1 to {MOST}")
            if not bool(value.isfinite().all()):
                raise ValueError(f"{where}: {word!r} has NaN or infinite numbers; it is damaged")
        if len({len(value) for value in found[word].values()}) > 1:
            raise ValueError(f"{where}: {word!r} has different numbers of vectors for the encoders")
    return found


def with_embedding(
    model: Model, embedding: Embedding | str | Path, name: str | Sequence[str] | None = None,
    options: ReadOptions = PLAIN,
) -> Model:  # fmt: skip
    """A new model whose prompts may use the words of an embedding.

    name: see `read_embedding`
    A word is found where it stands by itself, in any case and with any weight.
    ValueError in one line for vectors that do not fit this model's encoders.
    """
    if isinstance(embedding, Embedding):
        if name is not None:
            raise ValueError("a name is for a file; give it to `read_embedding`")
        return with_words(model, embedding.words, str(embedding.path))
    found = read_embedding(embedding, name, options)
    return with_words(model, found.words, str(found.path))


def with_words(model: Model, words: Words, where: str) -> Model:
    """A new model whose prompts may use these words; where: the file's name in messages."""
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
    """The vectors of a word for each encoder; ValueError unless each has some of its width."""
    names = {part: texts_name for part, texts_name in PARTS.items() if texts_name in texts}
    alone = names == {"clip_l": FIRST}
    wanted = {"": FIRST} if alone else names
    widths = {part: texts[name].encoder.width for part, name in wanted.items()}
    # The refiner reads clip_g alone; files for SDXL have both.
    spare = set(vectors) - set(wanted) if not alone and len(wanted) == 1 else set()
    found = {part: value.shape[1] for part, value in vectors.items() if part not in spare}
    if found != widths:
        raise ValueError(
            f"{where}: {word!r} has vectors of {_widths(found or vectors)}, as {_version(vectors)}"
            f" has them, but this model's text reads {_widths(widths)}"
        )
    return {wanted[part]: vectors[part] for part in wanted}


def _widths(widths: Mapping[str, Any]) -> str:
    numbers = {p: w if isinstance(w, int) else w.shape[1] for p, w in widths.items()}
    return " and ".join(f"{w} for {part}" if part else str(w) for part, w in numbers.items())


def _version(vectors: Mapping[str, Tensor]) -> str:
    """The version of Stable Diffusion that has an encoder of this width."""
    if set(vectors) & set(PARTS):
        return SDXL.name
    width = next(iter(vectors.values())).shape[1]
    found = encoder_version(width)
    return f"no known family ({width})" if found is None else found.name


def _taught(text: Text, words: Mapping[str, Tensor], where: str) -> Text:
    """The text with more words, whose ids follow those of its encoder."""
    encoder = cast(Clip, text.encoder)
    first, ids = encoder.vocabulary, dict[str, tuple[int, ...]]()
    for word, vectors in words.items():
        if word.casefold() in (old.casefold() for old in (*text.tokenizer.words, *ids)):
            raise ValueError(
                f"{where}: this model already has a word {word!r}; give another name, as in"
                f" --embedding {where}=word"
            )
        ids[word] = tuple(range(first, first + len(vectors)))
        first += len(vectors)
    tokenizer = dataclasses.replace(text.tokenizer, words={**text.tokenizer.words, **ids})
    grown = _grown(encoder, torch.cat(list(words.values())))
    return dataclasses.replace(text, tokenizer=tokenizer, encoder=grown)


def _grown(encoder: Clip, vectors: Tensor) -> Clip:
    """A copy of an encoder with vectors appended to its table of tokens; the rest is shared."""
    old = encoder.embedding.weight
    table = torch.cat([old, vectors.to(old)])
    made = with_weights(encoder, {"embedding.weight": table})
    made.embedding.num_embeddings = len(table)
    made.config = dataclasses.replace(encoder.config, vocabulary=len(table))
    return made
