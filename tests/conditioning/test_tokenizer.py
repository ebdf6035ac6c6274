"""The tokenizer: every text comes back, the same captions make the same one, bad files in words."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import unicodedata
from pathlib import Path

import pytest
from captions import CAPTIONS, tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from inkdrop.conditioning.tokenizer import FILE, Tokenizer, sound, train_tokenizer

# Control characters aside: what is white space among them differs between Python and Rust. Aside
# too are characters newer than 2002: the tokenizers library normalizes by older tables.
ASSIGNED = st.text(
    st.characters(exclude_categories=["Cs", "Cn", "Cc"]).filter(
        lambda character: unicodedata.ucd_3_2_0.category(character) != "Cn"
    )
)


def ids(text: str) -> list[int]:
    return [piece.id for piece in tokenizer().pieces(text)]


def normalized(text: str) -> str:
    lower = "".join(character.lower() for character in unicodedata.normalize("NFKC", text))
    return " ".join(lower.split())


@settings(deadline=None)
@given(ASSIGNED)
def test_a_text_comes_back_normalized(text: str) -> None:
    assert tokenizer().backend.decode(ids(text)).strip() == normalized(text)


@settings(deadline=None)
@given(st.text())
def test_any_text_has_tokens_of_its_own_characters(text: str) -> None:
    pieces = tokenizer().pieces(text)
    assert pieces or not text.isprintable() or not text.strip()
    assert all(0 <= piece.start <= piece.stop <= len(text) for piece in pieces)
    assert [piece.word for piece in pieces] == sorted(piece.word for piece in pieces)


def test_half_a_surrogate_pair_is_replaced_and_a_whole_one_joined() -> None:
    assert sound("a\ud800b\ud83d\ude00 한") == "a\ufffdb😀 한"
    assert sound("\ufeffa") == "\ufeffa"
    assert ids(sound("\udcff"))


@pytest.mark.parametrize(
    ("text", "same"),
    [
        ("A RED Dog", "a red dog"),
        ("  a\t red\n\ndog ", "a red dog"),
        ("ｒｅｄ", "red"),
        (unicodedata.normalize("NFD", "붉은 집"), "붉은 집"),
        (" \n", ""),
    ],
)
def test_spellings_of_one_text(text: str, same: str) -> None:
    assert ids(text) == ids(same)


def test_what_is_frequent_is_one_token_wherever_it_stands() -> None:
    red, on, sea = ids("red"), ids("on"), ids("sea")
    assert len(red) == len(on) == len(sea) == 1
    assert ids("Red on sea") == red + on + sea
    assert [(p.start, p.stop) for p in tokenizer().pieces("붉은 집")] == [(0, 2), (2, 4)]


def test_a_text_that_spells_a_special_token_is_text() -> None:
    (start,), (end,) = tokenizer().frame
    assert {start, end} == {0, 1}
    found = ids("<|start|><|end|>")
    assert not {start, end} & set(found)
    assert tokenizer().backend.decode(found).strip() == "<|start|><|end|>"


def test_the_same_captions_make_the_same_tokenizer() -> None:
    expected = tokenizer().backend.to_str()
    shuffled = random.Random(1).sample(CAPTIONS, len(CAPTIONS))
    assert train_tokenizer(iter(shuffled), 400).backend.to_str() == expected
    code = (
        "import json, sys; from inkdrop.conditioning.tokenizer import train_tokenizer;"
        "print(train_tokenizer(json.load(sys.stdin), 400).backend.to_str())"
    )
    command = [sys.executable, "-c", code]
    said = subprocess.run(
        command, input=json.dumps(CAPTIONS), capture_output=True, check=True, text=True
    )
    assert said.stdout.strip() == expected


def test_the_vocabulary_is_kept_to() -> None:
    assert train_tokenizer(CAPTIONS, 258).size == 258
    assert train_tokenizer(CAPTIONS, 270).size == 270
    assert train_tokenizer([], 1000).size == 258
    with pytest.raises(ValueError, match="vocabulary is 257 but must be at least 258"):
        train_tokenizer(CAPTIONS, 257)


def test_it_is_the_same_from_its_file(tmp_path: Path) -> None:
    tokenizer().write(tmp_path)
    assert [entry.name for entry in tmp_path.iterdir()] == [FILE]
    again = Tokenizer.read(tmp_path, vocabulary=tokenizer().size)
    assert again.frame == tokenizer().frame
    for text in (*CAPTIONS, "<|end|> 😀"):
        assert again.pieces(text) == tokenizer().pieces(text)


def test_a_file_that_truncates_and_pads_does_neither_here(tmp_path: Path) -> None:
    backend = train_tokenizer(CAPTIONS, 400).backend
    backend.enable_truncation(3)
    backend.enable_padding(length=9)
    backend.save(str(tmp_path / FILE))
    again = Tokenizer.read(tmp_path, vocabulary=400)
    assert again.pieces("a red dog on the sea") == tokenizer().pieces("a red dog on the sea")


def test_a_file_that_will_not_do_is_refused_in_words(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no tokenizer.json in .*, which a model"):
        Tokenizer.read(tmp_path, vocabulary=400)
    tokenizer().write(tmp_path)
    size = tokenizer().size
    with pytest.raises(ValueError, match=f"has {size} entries but .* vocabulary is {size - 1}"):
        Tokenizer.read(tmp_path, vocabulary=size - 1)
    path = tmp_path / FILE
    whole = path.read_bytes()
    for broken in (b"", b"{}", b"[1]", whole[:-20], b"\xff\xfe" + whole):
        path.write_bytes(broken)
        with pytest.raises(ValueError, match=r"tokenizer.json is truncated or not a tokenizer"):
            Tokenizer.read(tmp_path, vocabulary=size)
    path.write_text(json.dumps(json.loads(whole) | {"post_processor": None}), encoding="utf-8")
    with pytest.raises(ValueError, match="adds no special tokens, so the empty prompt"):
        Tokenizer.read(tmp_path, vocabulary=size)
