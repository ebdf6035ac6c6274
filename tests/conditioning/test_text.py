"""Text as a condition: chunks joined, the mean of real tokens, weights, and ways between two."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch
from captions import tokenizer
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.conditioning.chunks import Padding
from inkdrop.conditioning.text import Text, embed, emphasize, interpolate, mean_token
from inkdrop.networks.text import TextEncoder, TextEncoderConfig

CONFIG = TextEncoderConfig(vocabulary=400, width=16, layers=2, heads=2, context=8)
LONG = "a red dog on the sea, an unhappy cat on the hill"


def text(padding: Padding | None = None, **changes: object) -> Text:
    torch.manual_seed(0)
    encoder = TextEncoder(dataclasses.replace(CONFIG, **changes))  # type: ignore[arg-type]
    for parameter in encoder.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return Text(tokenizer(), encoder.requires_grad_(False), padding)


def tokens_of(cond: Cond) -> Tensor:
    assert cond.tokens is not None
    return cond.tokens


def real(cond: Cond, row: int = 0) -> Tensor:
    assert cond.mask is not None
    return tokens_of(cond)[row][cond.mask[row]]


def test_a_chunk_is_what_the_encoder_says_of_it() -> None:
    made = text()
    tokens = made.tokenize([LONG])
    assert tokens.ids.shape[1] == 3
    cond = made.encode([LONG])
    want = [
        made.encoder(tokens.ids[:, i], tokens.mask[:, i])[0][tokens.mask[0, i]] for i in range(3)
    ]  # type: ignore[operator]
    torch.testing.assert_close(real(cond), torch.cat(want))
    assert tokens_of(cond).dtype == torch.float32


def test_padding_is_zero_and_changes_nothing() -> None:
    made = text()
    alone, beside = made.encode(["a red dog"]), made.encode(["a red dog", LONG, ""])
    assert beside.mask is not None
    assert bool((tokens_of(beside)[~beside.mask] == 0).all())
    torch.testing.assert_close(real(beside), real(alone))
    torch.testing.assert_close(beside.vector[0], alone.vector[0])  # type: ignore[index]
    assert bool(tokens_of(beside).isfinite().all())


def test_the_vector_is_the_mean_of_real_tokens() -> None:
    made = text()
    cond = made.encode(["a red dog", LONG, ""])
    assert cond.vector is not None
    for row in range(3):
        torch.testing.assert_close(cond.vector[row], real(cond, row).mean(0))
    x, mask = torch.randn(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]])
    want = torch.stack([x[0, :2].mean(0), x[1, 0]])
    torch.testing.assert_close(mean_token(x, mask), want)


def test_embed_of_tokenize_is_encode() -> None:
    made = text()
    whole, parts = (
        made.encode([LONG, "a (red:2) dog"]),
        made.embed(made.tokenize([LONG, "a (red:2) dog"])),
    )
    assert torch.equal(tokens_of(whole), tokens_of(parts))


def test_words_that_weigh_one_are_the_same_to_the_bit() -> None:
    made = text()
    plain, marked = made.encode(["a red dog"]), made.encode(["a (red:1.0) (dog:1)"])
    assert torch.equal(tokens_of(plain), tokens_of(marked))
    assert torch.equal(plain.vector, marked.vector)  # type: ignore[arg-type]
    # The same beside a prompt that has weights, which goes through the arithmetic.
    x, nothing = tokens_of(made.encode(["a red dog", LONG])), torch.randn(16)
    mask = x.abs().sum(2) > 0
    assert torch.equal(emphasize(x, mask, torch.ones_like(mask, dtype=torch.float32), nothing), x)


def test_emphasis_is_as_it_says() -> None:
    torch.manual_seed(0)
    x, nothing, w = torch.randn(1, 3, 4), torch.randn(4), torch.tensor([[1.0, 2.0, 0.0]])
    out = emphasize(x, torch.ones(1, 3, dtype=torch.bool), w, nothing)[0]
    change = torch.stack([torch.zeros(4), x[0, 1] - nothing, nothing - x[0, 2]])
    torch.testing.assert_close(out, x[0] + change - change.mean(0))
    torch.testing.assert_close(out.mean(0), x[0].mean(0))
    # 0 takes a word to nothing, up to what all words share.
    torch.testing.assert_close(out[2] - nothing, -change.mean(0))


def test_emphasis_leaves_padding_zero_and_counts_only_what_is_real() -> None:
    torch.manual_seed(0)
    x, nothing, w = torch.randn(1, 4, 4), torch.randn(4), torch.tensor([[1.0, 3.0, 1.0, 1.0]])
    mask = torch.tensor([[True, True, True, False]])
    x = x.masked_fill(~mask[..., None], 0.0)
    out = emphasize(x, mask, w, nothing)
    torch.testing.assert_close(out[:, :3], emphasize(x[:, :3], mask[:, :3], w[:, :3], nothing))
    assert bool((out[:, 3] == 0).all())


def test_more_weight_is_more_of_a_word_and_the_mean_stays() -> None:
    made = text()
    place = (
        made.tokenize(["a red dog"]).ids[0, 0].tolist().index(made.tokenizer.pieces("red")[0].id)
    )
    plain = real(made.encode(["a red dog"]))
    nothing = real(made.encode([""]))[-1]
    distances = []
    for weight in (0.0, 0.5, 1.0, 1.5, 2.0):
        cond = made.encode([f"a (red:{weight}) dog"])
        torch.testing.assert_close(real(cond).mean(0), plain.mean(0))
        others = [i for i in range(len(plain)) if i != place]
        relative = real(cond)[place] - real(cond)[others].mean(0)
        distances.append(float((relative - (nothing - plain[others].mean(0))).norm()))
    assert distances[0] < 1e-5  # where nothing would stand
    assert distances == sorted(distances)


def test_with_padding_the_denoiser_attends_to_whole_chunks() -> None:
    made = text(Padding(id=3, length=8))
    cond = made.encode(["a red dog", LONG])
    assert tokens_of(cond).shape == (2, 24, 16)
    assert cond.mask is not None and cond.mask.sum(1).tolist() == [8, 24]
    ids = made.tokenize(["a red dog"]).ids[:, 0]
    want = made.encoder(ids, torch.ones_like(ids).bool())  # type: ignore[operator]
    torch.testing.assert_close(tokens_of(cond)[0, :8], want[0])
    assert not tokens_of(cond)[0, 8:].any()
    heavy = made.encode(["a (red:2) dog"])
    assert bool(tokens_of(heavy).isfinite().all())
    assert not torch.allclose(tokens_of(heavy)[0, 2], tokens_of(cond)[0, 2], atol=0.1)


def test_the_sketch_of_all_chunks_is_in_concat() -> None:
    made = text(sketch=(2, 4, 4), sketch_rank=8)
    tokens = made.tokenize([LONG, "a (dog:2)"])
    cond = embed(made.encoder, tokens, made.empty)
    assert cond.concat is not None and cond.concat.shape == (2, 2, 4, 4)
    sketch = made.encoder.sketch
    assert sketch is not None and text().encode([""]).concat is None
    want = sketch(*(part.flatten(1) for part in tokens))
    assert torch.equal(cond.concat, want)


def test_a_padding_or_a_tokenizer_that_does_not_fit() -> None:
    made = text()
    for padding, said in (
        (Padding(400, 8), "padding token is 400, but the text encoder's vocabulary has 400"),
        (Padding(-1, 8), "padding token is -1"),
        (Padding(0, 9), "padding length is 9, but the text encoder reads 1 to 8"),
        (Padding(0, 0), "padding length is 0"),
    ):
        with pytest.raises(ValueError, match=said):
            Text(tokenizer(), made.encoder, padding)
    with pytest.raises(ValueError, match=r"the tokenizer has \d+ entries but .* vocabulary is 10"):
        Text(tokenizer(), TextEncoder(dataclasses.replace(CONFIG, vocabulary=10)))


def test_the_ends_of_a_walk_are_exact() -> None:
    made = text(sketch=(2, 4, 4), sketch_rank=8)
    a, b = made.encode(["a red dog"]), made.encode([LONG])
    assert interpolate(a, b, 0) is a and interpolate(a, b, 1) is b
    near, far = interpolate(a, b, 1e-7), interpolate(a, b, 1 - 1e-7)
    torch.testing.assert_close(tokens_of(near)[0, :5], real(a), atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(tokens_of(far)[0], real(b), atol=1e-5, rtol=1e-5)
    for mine, end in ((near, a), (far, b)):
        torch.testing.assert_close(mine.vector, end.vector, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(mine.concat, end.concat, atol=1e-5, rtol=1e-5)


def test_between_two_every_token_goes_along_an_arc() -> None:
    angle = 1.2
    x = torch.tensor([[[1.0, 0.0]]])
    y = 3 * torch.tensor([[[math.cos(angle), math.sin(angle)]]])
    for fraction in (0.25, 0.5, 0.9):
        found = interpolate(Cond(tokens=x), Cond(tokens=y), fraction)
        turned, length = fraction * angle, 1 + 2 * fraction
        want = length * torch.tensor([[[math.cos(turned), math.sin(turned)]]])
        torch.testing.assert_close(found.tokens, want)
        vector = interpolate(Cond(vector=x[0]), Cond(vector=y[0]), fraction).vector
        torch.testing.assert_close(vector, want[0])
        line = interpolate(Cond(concat=x), Cond(concat=y), fraction).concat
        torch.testing.assert_close(line, torch.lerp(x, y, fraction))


def test_where_there_is_no_arc_it_is_a_line() -> None:
    x = torch.tensor([[[1.0, 0.0], [1.0, 0.0], [0.0, 0.0]]])
    y = torch.tensor([[[2.0, 0.0], [-1.0, 0.0], [0.0, 3.0]]])
    found = tokens_of(interpolate(Cond(tokens=x), Cond(tokens=y), 0.25))
    torch.testing.assert_close(found[0, 0], torch.tensor([1.25, 0.0]))
    torch.testing.assert_close(found[0, 1], torch.tensor([0.5, 0.0]))
    assert bool(found.isfinite().all())


def test_the_shorter_prompt_goes_on_with_its_last_token() -> None:
    made = text()
    a, b = made.encode(["a red dog"]), made.encode([LONG])
    short, long = real(a), real(b)
    middle = interpolate(a, b, 0.5)
    assert middle.mask is not None and middle.mask.all()
    assert tokens_of(middle)[0].shape == long.shape
    continued = torch.cat([short, short[-1:].expand(len(long) - len(short), -1)])
    by_hand = interpolate(Cond(tokens=continued[None]), Cond(tokens=long[None]), 0.5)
    torch.testing.assert_close(tokens_of(middle), tokens_of(by_hand))


@pytest.mark.parametrize(
    ("a", "b", "fraction", "said"),
    [
        (Cond(), Cond(), 1.5, "fraction is 1.5 but must be from 0"),
        (Cond(label=torch.zeros(1)), Cond(), 0.5, "for 1 and None samples"),
        (Cond(label=torch.zeros(1)), Cond(label=torch.zeros(1)), 0.5, "a condition has a label"),
        (
            Cond(vector=torch.zeros(1, 2)),
            Cond(concat=torch.zeros(1, 2)),
            0.5,
            "only one of the conditions has vector",
        ),
        (
            Cond(tokens=torch.zeros(1, 1, 2), mask=torch.zeros(1, 1, dtype=torch.bool)),
            Cond(tokens=torch.zeros(1, 1, 2)),
            0.5,
            "has no real token",
        ),
    ],
)
def test_conditions_without_a_way_between(a: Cond, b: Cond, fraction: float, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        interpolate(a, b, fraction)
