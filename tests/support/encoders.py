"""Tiny text encoders of `transformers` with random weights, in folders as it writes them."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import torch
import transformers
from captions import CAPTIONS, tokenizer
from tokenizers import Tokenizer as Backend
from tokenizers import models, normalizers, pre_tokenizers, trainers

from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START

Merges = list[tuple[str, str]]

BERT = {
    "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
    "vocab_size": 400, "max_position_embeddings": 24,
}  # fmt: skip
T5 = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 3, "num_heads": 2, "vocab_size": 400}
SETTINGS: dict[str, dict[str, Any]] = {
    "BertModel": BERT,
    "DistilBertModel": {
        "dim": 16, "hidden_dim": 32, "n_layers": 3, "n_heads": 2, "vocab_size": 400,
        "max_position_embeddings": 24,
    },
    "ElectraModel": {**BERT, "embedding_size": 12},
    "ModernBertModel": {
        **BERT, "pad_token_id": 0, "bos_token_id": 0, "eos_token_id": 1, "cls_token_id": 0,
        "sep_token_id": 1,
    },
    "MPNetModel": BERT,
    "RobertaModel": BERT,
    "XLMRobertaModel": BERT,
    "T5EncoderModel": T5,
    "MT5EncoderModel": T5,
    "UMT5EncoderModel": T5,
}  # fmt: skip


def encoder(folder: Path, model: str, **changes: Any) -> Any:
    """A model of this class, saved into a folder with the tokenizer of the captions."""
    made = random_model(model, **{**SETTINGS[model], **changes})
    made.save_pretrained(folder)
    tokenizer().write(folder)
    return made


def clip(folder: Path, *, projected: bool = False, pad: str = CLIP_END, **changes: Any) -> Any:
    """A CLIP text model, with CLIP's kind of vocabulary and what it fills prompts up with."""
    vocabulary = clip_vocabulary(merges())
    settings = {
        "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 3,
        "num_attention_heads": 2, "projection_dim": 12, "vocab_size": len(vocabulary),
        "max_position_embeddings": 16, "bos_token_id": vocabulary[CLIP_START],
        "eos_token_id": vocabulary[CLIP_END], "pad_token_id": vocabulary[pad],
    }  # fmt: skip
    name = "CLIPTextModelWithProjection" if projected else "CLIPTextModel"
    made = random_model(name, **{**settings, **changes})
    made.save_pretrained(folder)
    clip_files(folder, pad)
    return made


def random_model(name: str, **settings: Any) -> Any:
    """With weights that tell words apart, and norms and biases that are no constants."""
    cls = getattr(transformers, name)
    made = cls(cls.config_class(**settings)).eval()
    for key, parameter in made.named_parameters():
        embeds = "embed" in key or key == "shared.weight"
        spread = 0.3 if parameter.ndim == 1 else 1.0 if embeds else parameter.shape[-1] ** -0.5
        torch.nn.init.normal_(parameter, std=spread)
        if parameter.ndim == 1 and key.endswith("weight"):
            parameter.data += 1  # of a norm
    return made


def clip_files(folder: Path, pad: str = CLIP_END) -> None:
    """vocab.json, merges.txt and special_tokens_map.json."""
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges())]
    (folder / "vocab.json").write_text(json.dumps(clip_vocabulary(merges())), encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps({"pad_token": pad}))


@cache
def merges() -> Merges:
    """Pairs learned from the captions."""
    backend = Backend(models.BPE(end_of_word_suffix="</w>"))
    backend.normalizer = normalizers.Lowercase()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    trainer = trainers.BpeTrainer(
        vocab_size=600, end_of_word_suffix="</w>", show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    backend.train_from_iterator(CAPTIONS, trainer)
    return [(a, b) for a, b in json.loads(backend.to_str())["model"]["merges"]]


def clip_vocabulary(pairs: Merges) -> dict[str, int]:
    """CLIP's order: the bytes, the bytes that end a word, the merges, start and end."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = (chr(256 + n) for n in range(256 - len(plain)))
    letters = [*map(chr, plain), *others]
    tokens = [*letters, *(letter + "</w>" for letter in letters), *map("".join, pairs)]
    return {token: i for i, token in enumerate([*tokens, CLIP_START, CLIP_END])}
