"""Tokenizers of others: CLIP's as `transformers` has it, sentencepiece's, and folders without."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pytest
import transformers
from captions import CAPTIONS, tokenizer
from encoders import clip_files, clip_vocabulary, merges
from hypothesis import given, settings
from hypothesis import strategies as st

from inkdrop.conditioning.foreign import Merge, clip_tokenizer, find_tokenizer
from inkdrop.conditioning.tokenizer import Tokenizer, sound
from inkdrop.conditioning.tokenizer_settings import CLIP_END, CLIP_START, padding_id

PROMPTS = (
    *CAPTIONS,
    "",
    " ",
    "A RED Dog's tail, isn't it?  We'll see: 'tis 1234 5.6",
    "붉은 고양이, 한국어!",
    "emoji 😀🏳️‍🌈👩‍👩‍👧 done",
    "pneumonoultramicroscopicsilicovolcanoconiosis" * 3,
    "naïve café ÅÉÎ",
    "e\u0301 is é",
    "ＦＵＬＬ width",
    "tabs\tand\nlines\r\n",
    "日本語と中文",
    "ßẞ İ ﬁ",
    "a\u00a0b\u3000c",
    "((weight:1.3)) [x] \\(",
    "...!!!???",
    "__under_score__",
    "x" * 400,
    "𝔘𝔫𝔦𝔠𝔬𝔡𝔢",
    "1²3½",
    "don't'd'll",
)


def theirs(vocabulary: dict[str, int], pairs: list[Merge]) -> transformers.CLIPTokenizer:
    return transformers.CLIPTokenizer(vocab=vocabulary, merges=pairs)


def real_merges() -> list[Merge]:
    """CLIP's own: $INKDROP_CLIP_MERGES, or shared/data/clip beside the repository."""
    beside = Path(__file__).resolve().parents[3] / "shared" / "data" / "clip"
    file = os.environ.get("INKDROP_CLIP_MERGES", beside / "bpe_simple_vocab_16e6.txt.gz")
    if not Path(file).is_file():
        pytest.skip("needs CLIP's merges")
    with gzip.open(file, "rt", encoding="utf-8") as opened:
        lines = opened.read().split("\n")[1:48895]
    return [(a, b) for a, b in (line.split(" ") for line in lines)]


def same(ours: Tokenizer, peer: transformers.CLIPTokenizer, text: str) -> bool:
    (start,), (end,) = ours.frame
    ids = [start, *(piece.id for piece in ours.pieces(text)), end]
    return ids == peer(text, split_special_tokens=True)["input_ids"]


def test_it_is_clips_tokenizer() -> None:
    vocabulary = clip_vocabulary(merges())
    ours, peer = clip_tokenizer(vocabulary, merges()), theirs(vocabulary, merges())
    assert ours.frame == ((vocabulary[CLIP_START],), (vocabulary[CLIP_END],))
    wrong = [text for text in PROMPTS if not same(ours, peer, text)]
    assert not wrong


@settings(deadline=None)
@given(st.text() | st.text(alphabet="ab'sré한😀 \n1.<|>", max_size=40))
def test_it_is_clips_tokenizer_for_any_text(text: str) -> None:
    vocabulary = clip_vocabulary(merges())
    assert same(clip_tokenizer(vocabulary, merges()), theirs(vocabulary, merges()), sound(text))


def test_with_clips_own_merges() -> None:
    pairs = real_merges()
    vocabulary = clip_vocabulary(pairs)
    assert len(vocabulary) == 49_408 and vocabulary[CLIP_END] == 49_407
    ours, peer = clip_tokenizer(vocabulary, pairs), theirs(vocabulary, pairs)
    # What every tutorial shows.
    assert [p.id for p in ours.pieces("a photo of a cat")] == [320, 1125, 539, 320, 2368]
    words = [token.removesuffix("</w>") for token in vocabulary if token.isascii()]
    rng = random.Random(0)
    made = [" ".join(rng.choices(words, k=rng.randint(1, 30))) for _ in range(300)]
    wrong = [text for text in (*PROMPTS, *made) if not same(ours, peer, text)]
    assert not wrong


def test_words_of_a_special_token_are_words() -> None:
    ours = clip_tokenizer(clip_vocabulary(merges()), merges())
    inside = {piece.id for piece in ours.pieces(f"a {CLIP_END} b {CLIP_START}")}
    assert not inside & {*ours.frame[0], *ours.frame[1]}


def test_offsets_are_of_the_text_as_it_is_written() -> None:
    ours = clip_tokenizer(clip_vocabulary(merges()), merges())
    text = "A  RED dog, 붉은 집"
    pieces = ours.pieces(text)
    for word in ("RED", "dog", "붉은", "집"):
        start = text.index(word)
        found = [p for p in pieces if start <= p.start < p.stop <= start + len(word)]
        assert found[0].start == start and found[-1].stop == start + len(word)
        assert len({piece.word for piece in found}) == 1


def test_a_folder_is_searched(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"there is no tokenizer in .*: neither tokenizer\.json"):
        find_tokenizer(tmp_path, 1000)
    clip_files(tmp_path)
    size = len(clip_vocabulary(merges()))
    found = find_tokenizer(tmp_path, size)
    assert found.pieces("a red dog") == clip_tokenizer(clip_vocabulary(merges()), merges()).pieces(
        "a red dog"
    )
    with pytest.raises(ValueError, match=f"has {size} entries but .* vocabulary is {size - 1}"):
        find_tokenizer(tmp_path, size - 1)
    tokenizer().write(tmp_path)  # tokenizer.json is preferred
    assert find_tokenizer(tmp_path, 1000).size == tokenizer().size


def test_the_padding_token_is_the_files_own(tmp_path: Path) -> None:
    clip_files(tmp_path)
    found, vocabulary = find_tokenizer(tmp_path, 1000), clip_vocabulary(merges())
    assert padding_id(tmp_path, found) == vocabulary[CLIP_END]
    (tmp_path / "special_tokens_map.json").write_text('{"pad_token": {"content": "!"}}')
    assert padding_id(tmp_path, found) == 0
    for said in ("{}", '{"pad_token": "<nothing>"}'):
        (tmp_path / "special_tokens_map.json").write_text(said)
        with pytest.raises(ValueError, match="there is no padding token in"):
            padding_id(tmp_path, found)


def test_broken_files_of_clip(tmp_path: Path) -> None:
    clip_files(tmp_path)
    lines = (tmp_path / "merges.txt").read_text(encoding="utf-8")
    (tmp_path / "merges.txt").write_text(lines + "a b c\n", encoding="utf-8")
    with pytest.raises(ValueError, match="has the line 'a b c', but a merge is two parts"):
        find_tokenizer(tmp_path, 1000)
    (tmp_path / "merges.txt").write_text(lines + "qq zz</w>\n", encoding="utf-8")
    with pytest.raises(ValueError, match="vocabulary and merges belong to different tokenizers"):
        find_tokenizer(tmp_path, 1000)
    (tmp_path / "vocab.json").write_text('{"a": 0}')
    with pytest.raises(ValueError, match=r"has no <\|startoftext\|>, so it is not CLIP's"):
        find_tokenizer(tmp_path, 1000)
    (tmp_path / "vocab.json").write_text(json.dumps({CLIP_START: 0, CLIP_END: "1"}))
    with pytest.raises(ValueError, match="must map each token to an integer"):
        find_tokenizer(tmp_path, 1000)


def test_a_sentencepiece_that_cannot_be_converted(tmp_path: Path) -> None:
    (tmp_path / "spiece.model").write_bytes(b"not a model")
    with pytest.raises(ValueError, match=r"spiece.model could not be converted .*pip install sen"):
        find_tokenizer(tmp_path, 1000)


def test_a_sentencepiece_is_converted(tmp_path: Path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    (tmp_path / "text").write_text("\n".join(CAPTIONS * 5), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(tmp_path / "text"), model_prefix=str(tmp_path / "spiece"), vocab_size=60,
        hard_vocab_limit=False,
        pad_id=0, eos_id=1, unk_id=2, bos_id=-1, minloglevel=2,
    )  # fmt: skip
    found = find_tokenizer(tmp_path, 1000)
    peer = sentencepiece.SentencePieceProcessor(str(tmp_path / "spiece.model"))
    assert found.frame == ((), (1,))
    for text in CAPTIONS:
        assert [piece.id for piece in found.pieces(text)] == peer.encode(text)
