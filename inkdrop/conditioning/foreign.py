"""Tokenizers in other formats: tokenizer.json, CLIP's vocabulary and merges, sentencepiece."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from inkdrop.conditioning.library import quiet, transformers
from inkdrop.conditioning.tokenizer import FILE, Tokenizer
from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START, added_words, check_frame
from inkdrop.weights import read_json

Merge = tuple[str, str]

VOCABULARY, MERGES, SENTENCEPIECE = "vocab.json", "merges.txt", "spiece.model"

# CLIP's words (Radford et al. 2021): English contractions, letters, a single digit, other symbols.
_CLIP_WORDS = (
    r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d"
    r"|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
)


def find_tokenizer(folder: Path, vocabulary: int) -> Tokenizer:
    """The tokenizer in a folder of `transformers`, for a text encoder of `vocabulary` ids.

    It is read from tokenizer.json, else from CLIP's vocab.json with merges.txt, else from T5's
    spiece.model, which needs the library. ValueError if there is none, or if it does not fit.
    """
    if (folder / FILE).is_file():
        return Tokenizer.read(folder, vocabulary=vocabulary)
    if (folder / VOCABULARY).is_file() and (folder / MERGES).is_file():
        check_frame(folder)
        tokenizer = clip_tokenizer(read_json(folder / VOCABULARY), _merges(folder / MERGES))
        tokenizer = replace(tokenizer, words=added_words(folder, tokenizer))
    elif (folder / SENTENCEPIECE).is_file():
        tokenizer = _sentencepiece(folder)
    else:
        raise ValueError(
            f"there is no tokenizer in {folder}: neither {FILE}, nor {VOCABULARY} with {MERGES},"
            f" nor {SENTENCEPIECE}; get the folder again, complete"
        )
    tokenizer.check(vocabulary, str(folder))
    return tokenizer


def clip_tokenizer(vocabulary: Mapping[str, int], merges: Sequence[Merge]) -> Tokenizer:
    """CLIP's tokenizer: byte-level BPE within words, with the suffix </w>, on lower-cased text.

    ValueError if the vocabulary lacks the start or end token, or a part of a merge.
    """
    from tokenizers import Regex, models, normalizers, pre_tokenizers, processors
    from tokenizers import Tokenizer as Backend

    for token in (CLIP_START, CLIP_END):
        if token not in vocabulary:
            raise ValueError(f"the vocabulary has no {token}, so it is not CLIP's; get CLIP's own")
    if not all(isinstance(number, int) for number in vocabulary.values()):
        raise ValueError("the vocabulary must map each token to an integer; get the file again")
    try:
        pairs = models.BPE(
            dict(vocabulary), list(merges), end_of_word_suffix="</w>", unk_token=CLIP_END
        )
    except Exception as error:  # the library raises nothing more specific
        raise ValueError(
            f"vocabulary and merges belong to different tokenizers ({error}); get both again"
        ) from None
    backend = Backend(pairs)
    backend.normalizer = normalizers.Sequence(
        [normalizers.NFC(), normalizers.Replace(Regex(r"\s+"), " "), normalizers.Lowercase()]
    )
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_CLIP_WORDS), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    backend.post_processor = processors.TemplateProcessing(
        single=f"{CLIP_START} $A {CLIP_END}",
        special_tokens=[(token, vocabulary[token]) for token in (CLIP_START, CLIP_END)],
    )
    backend.add_special_tokens([CLIP_START, CLIP_END])
    return Tokenizer(backend)


def _merges(file: Path) -> list[Merge]:
    """The pairs in a merges.txt, whose first line may be a version."""
    pairs = list[Merge]()
    for line in file.read_text(encoding="utf-8").split("\n"):
        parts = line.split(" ")
        if line.startswith("#version") or not line:
            continue
        if len(parts) != 2:
            raise ValueError(
                f"{file} has the line {line!r}, but a merge is two parts separated by a space; get"
                " the file again"
            )
        pairs.append((parts[0], parts[1]))
    return pairs


def _sentencepiece(folder: Path) -> Tokenizer:
    """T5's tokenizer, converted by `transformers`."""
    from tokenizers import Tokenizer as Backend

    kind = transformers(f"the tokenizer {folder / SENTENCEPIECE}", "text").T5Tokenizer
    try:
        with quiet():
            found = kind.from_pretrained(str(folder), local_files_only=True).backend_tokenizer
    except Exception as error:  # missing dependencies raise several types
        said = json.dumps(" ".join(str(error).split())[:200], ensure_ascii=False)
        raise ValueError(
            f"{folder / SENTENCEPIECE} could not be converted ({said}); it needs sentencepiece and"
            " protobuf (pip install sentencepiece protobuf), or a tokenizer.json beside it"
        ) from None
    return Tokenizer(Backend.from_str(found.to_str()))
