"""Settings beside CLIP's vocabulary: the ids of `transformers`, or a refusal."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from encoders import clip, clip_files, clip_vocabulary, encoder, merges

from inkdrop.conditioning.chunks import Padding, tokenize
from inkdrop.conditioning.foreign import find_tokenizer
from inkdrop.conditioning.pretrained import open_pretrained
from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START, padded_length, padding_id

WORDS = ["a red house", "", "two Green hills", "the <cat> by night"]
CONTEXT = 24
USUAL = {
    "tokenizer_class": "CLIPTokenizer", "model_max_length": CONTEXT, "pad_token": CLIP_END,
    "bos_token": CLIP_START, "eos_token": CLIP_END, "unk_token": CLIP_END, "errors": "replace",
    "do_lower_case": True, "add_prefix_space": False,
}  # fmt: skip
NEW = len(clip_vocabulary(merges()))
ADDED = {"content": "<cat>", "lstrip": False, "normalized": True, "rstrip": False,
         "single_word": False, "special": False}  # fmt: skip


def written(folder: Path, **settings: Any) -> Path:
    clip_files(folder)
    (folder / "special_tokens_map.json").unlink()
    (folder / "tokenizer_config.json").write_text(json.dumps({**USUAL, **settings}))
    return folder


@pytest.mark.parametrize(
    "change",
    [
        {}, {"do_lower_case": False}, {"add_prefix_space": True}, {"errors": "strict"},
        {"model_max_length": 20}, {"model_max_length": 20.0}, {"unk_token": "a</w>"},
        {"truncation_side": "left"}, {"split_special_tokens": True},
        {"clean_up_tokenization_spaces": False}, {"tokenizer_class": "CLIPTokenizerFast"},
        {"added_tokens_decoder": {str(NEW): ADDED}},
    ],
)  # fmt: skip
def test_ids_are_theirs(tmp_path: Path, change: dict[str, Any]) -> None:
    folder = written(tmp_path, **change)
    peer = transformers.CLIPTokenizer.from_pretrained(folder)
    tokenizer = find_tokenizer(folder, NEW + 1)
    length = padded_length(folder, CONTEXT)
    padding = Padding(padding_id(folder, tokenizer), length)
    for words in WORDS:
        wanted = peer(words, padding="max_length", max_length=length, truncation=True).input_ids
        assert tokenize(tokenizer, [words], length, padding).ids[0, 0].tolist() == wanted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bos_token": "a</w>"}, "has bos_token 'a</w>', but CLIP's is"),
        ({"eos_token": {"content": "!"}}, "has eos_token"),
        ({"padding_side": "left"}, "filled up on the right here"),
        ({"pad_token": None}, "no padding token"),
        ({"pad_token": "<|pad|>"}, "no padding token"),
        ({"model_max_length": 1}, "must leave room for words"),
        ({"model_max_length": "77"}, "has model_max_length '77'"),
        ({"additional_special_tokens": ["red"]}, "adds the word 'red' to the vocabulary without"),
        ({"added_tokens_decoder": {str(NEW + 9): ADDED}}, "vocabulary"),
        ({"added_tokens_decoder": [1]}, "which is not a dict"),
        ({"additional_special_tokens": 3}, "which is not a list"),
    ],
)
def test_refused(tmp_path: Path, change: dict[str, Any], said: str) -> None:
    folder = written(tmp_path, **change)
    with pytest.raises(ValueError, match=said):
        tokenizer = find_tokenizer(folder, NEW + 1)
        Padding(padding_id(folder, tokenizer), padded_length(folder, CONTEXT))


def test_an_added_file_of_words(tmp_path: Path) -> None:
    folder = written(tmp_path, pad_token="<cat>")
    (folder / "added_tokens.json").write_text(json.dumps({"<cat>": NEW}))
    tokenizer = find_tokenizer(folder, NEW + 1)
    assert padding_id(folder, tokenizer) == NEW
    assert NEW in tokenize(tokenizer, ["a <cat>"], CONTEXT).ids


def test_prompts_are_filled_up_to_the_tokenizer_s_length(tmp_path: Path) -> None:
    peer = clip(tmp_path)
    written(tmp_path, model_max_length=12)
    text = open_pretrained(tmp_path, padded=True)
    ids = transformers.CLIPTokenizer.from_pretrained(tmp_path)(
        "a red house", padding="max_length", return_tensors="pt"
    ).input_ids
    with torch.no_grad():
        wanted = peer(ids).last_hidden_state
    found = text.encode(["a red house"]).tokens
    assert found is not None
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"),
    [("is_decoder", True), ("add_cross_attention", True),
     ("position_embedding_type", "relative_key"), ("architectures", 3)],
)  # fmt: skip
def test_settings_of_an_encoder_that_are_not_followed(
    tmp_path: Path, name: str, value: object
) -> None:
    encoder(tmp_path, "BertModel")
    file = tmp_path / "config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), name: value}))
    with pytest.raises(ValueError, match=f"has {name} {value!r}[,;] (which is not|it must be)"):
        open_pretrained(tmp_path)
