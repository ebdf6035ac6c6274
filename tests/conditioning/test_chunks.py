"""Chunks: they break at words, lose nothing, carry the weights of brackets, and are filled up."""

from __future__ import annotations

from itertools import chain

import pytest
import torch
from captions import tokenizer
from hypothesis import given, settings
from hypothesis import strategies as st

from inkdrop.conditioning.chunks import Padding, Tokens, tokenize
from inkdrop.conditioning.prompt import escape
from inkdrop.conditioning.tokenizer import sound

(START,), (END,) = tokenizer().frame
TEXTS = st.text(alphabet="a dog한😀x\n", max_size=60) | st.text(max_size=30)


def ids(text: str) -> list[int]:
    return [piece.id for piece in tokenizer().pieces(sound(text))]


def chunks(tokens: Tokens, row: int = 0) -> list[list[int]]:
    """The real tokens of a prompt's chunks, without the frame; the frame is checked."""
    found = []
    for these, mask in zip(tokens.ids[row], tokens.mask[row], strict=True):
        real = these[mask].tolist()
        assert mask.tolist() == sorted(mask.tolist(), reverse=True)  # padding comes last
        if real:
            assert (real[0], real[-1]) == (START, END)
            found.append(real[1:-1])
    return found


def read(prompts: list[str], context: int = 8, padding: Padding | None = None) -> Tokens:
    return tokenize(tokenizer(), prompts, context, padding)


def test_a_short_prompt_is_one_chunk_as_long_as_it_is() -> None:
    tokens = read(["a red dog", "dog"])
    assert tokens.ids.shape == (2, 1, 5) and tokens.ids.dtype == torch.int64
    assert tokens.mask.sum(2).tolist() == [[5], [3]]
    assert tokens.mask.dtype == torch.bool and tokens.weights.dtype == torch.float32
    assert chunks(tokens) == [ids("a red dog")] and chunks(tokens, 1) == [ids("dog")]


def test_nothing_has_a_frame_all_the_same() -> None:
    tokens = read(["", " \n "])
    assert tokens.ids.tolist() == [[[START, END]]] * 2 and tokens.mask.all()


@pytest.mark.parametrize("padding", [None, Padding(3, 8)])
def test_break_begins_a_chunk(padding: Padding | None) -> None:
    tokens = read(["a red BREAK (dog:1.5)"], padding=padding)
    for chunk, alone in enumerate(("a red", "(dog:1.5)")):
        expected = read([alone], padding=padding)
        for found, each in zip(tokens, expected, strict=True):
            length = each.shape[-1]
            assert torch.equal(found[0, chunk, :length], each[0, 0])
    # As in A1111: nothing after the last one adds no chunk, and nothing before the first one does.
    empty = read(["BREAK a", "a BREAK", "BREAK", r"a \BREAK b"], context=12)
    assert [len(chunks(empty, row)) for row in range(4)] == [2, 1, 1, 1]
    assert chunks(empty, 0) == [[], ids("a")] and chunks(empty, 3) == [ids("a BREAK b")]


def test_chunks_begin_at_words() -> None:
    # Six of context 8 are for words; "xyzz" has five tokens.
    assert len(ids("xyzz")) == 5
    tokens = read(["red dog xyzz sea", "a red dog on"])
    assert chunks(tokens) == [ids("red dog"), [*ids("xyzz"), *ids("sea")]]
    assert chunks(tokens, 1) == [ids("a red dog on")]
    assert tokens.ids.shape == (2, 2, 8)
    assert not tokens.mask[1, 1].any() and (tokens.weights[1, 1] == 1).all()


def test_a_word_longer_than_a_chunk_is_cut_and_goes_on_where_it_is() -> None:
    word = "xyzzyxyzzy"
    assert len(ids(word)) > 6
    found = chunks(read([f"red {word} sea"]))
    assert found[0][:1] == ids("red") and len(found[0]) == 6
    assert list(chain(*found)) == [*ids("red"), *ids(word), *ids("sea")]


@settings(deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=3), st.integers(3, 12))
def test_a_prompt_of_any_length_loses_nothing(texts: list[str], context: int) -> None:
    tokens = read([escape(text) for text in texts], context)
    assert tokens.ids.shape[2] <= context
    for row, text in enumerate(texts):
        found = chunks(tokens, row)
        assert list(chain(*found)) == ids(text)
        assert found == [[]] or all(found)  # none is empty but that of nothing
    assert (tokens.weights == 1).all()


def test_the_weight_of_a_bracket_is_its_tokens() -> None:
    plain, weighed = read(["a red dog on"]), read(["a (red:1.3) [dog] on"])
    assert torch.equal(plain.ids, weighed.ids) and torch.equal(plain.mask, weighed.mask)
    want = [1.0, 1.0, 1.3, 1 / 1.1, 1.0, 1.0]
    torch.testing.assert_close(weighed.weights[0, 0], torch.tensor(want))


def test_a_token_has_the_mean_weight_of_its_letters() -> None:
    # Half of the word is told twice as loud; the space before it says nothing.
    assert len(ids("green")) == 1
    torch.testing.assert_close(
        read(["a gr(een:2)"]).weights[0, 0, 2], torch.tensor((2 * 1 + 3 * 2) / 5)
    )
    assert read(["(a :2)dog"]).weights[0, 0].tolist() == [1, 2, 1, 1]


def test_weights_stay_with_their_words_across_chunks() -> None:
    tokens = read(["red dog xyzz (sea:1.5) a (집:0.5)"])
    for chunk, weights, mask in zip(tokens.ids[0], tokens.weights[0], tokens.mask[0], strict=True):
        for id, weight in zip(chunk[mask].tolist(), weights[mask].tolist(), strict=True):
            assert weight == {ids("sea")[0]: 1.5, ids("집")[0]: 0.5}.get(id, 1.0)


@settings(deadline=None)
@given(TEXTS, st.integers(0, 60), st.floats(-3, 3))
def test_brackets_never_change_the_ids(text: str, cut: int, weight: float) -> None:
    plain = read([escape(text)])
    marked = read([f"({escape(text[:cut])}:{weight:.2f}){escape(text[cut:])}"])
    # A bracket in the middle of a normalized pair of letters is in the middle of one token.
    assert torch.equal(plain.ids, marked.ids)


def test_padding_fills_chunks_and_is_read() -> None:
    padding = Padding(id=7, length=8)
    tokens = read(["red dog xyzz sea", "a (red:1.5) dog", ""], padding=padding)
    assert tokens.ids.shape == (3, 2, 8)
    assert tokens.mask.all(2).tolist() == [[True, True], [True, False], [True, False]]
    assert torch.equal(tokens.mask.any(2), tokens.mask.all(2))
    assert tokens.ids[0, 0].tolist() == [START, *ids("red dog"), END, *[7] * 4]
    assert tokens.ids[1, 0].tolist() == [START, *ids("a red dog"), END, *[7] * 3]
    assert tokens.ids[2, 0].tolist() == [START, END, *[7] * 6]
    assert tokens.weights[1, 0].tolist() == [1, 1, 1.5, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("padding", [None, Padding(id=7, length=8)])
def test_a_prompt_is_the_same_beside_any_other(padding: Padding | None) -> None:
    both, alone = (read(p, padding=padding) for p in (["red dog xyzz sea", "a dog"], ["a dog"]))
    assert both.ids[1][both.mask[1]].tolist() == alone.ids[0][alone.mask[0]].tolist()
    assert both.mask[1].any(1).tolist() == [True, False]


@pytest.mark.parametrize(
    ("prompts", "said"),
    [
        ("a dog", "prompts is 'a dog'; give a list"),
        ([], r"prompts is \[\]; give a list of at least one string"),
        ([3], "a prompt is 3; it must be a string"),
        (["x" * 10_001], "the prompt has 10001 characters; shorten it to at most 10000"),
        (["(a:999)"], "gives 'a' the weight 999"),
    ],
)
def test_what_is_no_prompt(prompts: list[str], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read(prompts)


def test_a_context_without_room_for_words() -> None:
    with pytest.raises(ValueError, match="a context of 2 tokens leaves no room for words"):
        read(["a"], context=2)
