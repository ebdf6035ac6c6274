"""The text encoder: padding is not there, order is, every weight learns, bad shapes in words."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import nn

from inkdrop.networks.text import TextEncoder, TextEncoderConfig

TINY = TextEncoderConfig(vocabulary=20, width=8, layers=2, heads=2, context=6)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_net() -> TextEncoder:
    """An encoder whose zeroed layers are random too."""
    net = TextEncoder(TINY).double()
    for parameter in net.parameters():
        nn.init.normal_(parameter, std=0.5)
    return net


def test_padding_does_not_influence_real_tokens() -> None:
    net, ids = random_net(), torch.randint(20, (3, 6))
    lengths = (6, 4, 1)
    mask = torch.arange(6) < torch.tensor(lengths)[:, None]
    tokens = net(ids, mask)
    other = torch.where(mask, ids, (ids + 7) % 20)
    assert torch.equal(net(other, mask)[mask], tokens[mask])
    for row, length in enumerate(lengths):
        alone = net(ids[row : row + 1, :length], mask[row : row + 1, :length])
        torch.testing.assert_close(alone[0], tokens[row, :length])


def test_it_is_torchs_multihead_attention_between_norms() -> None:
    net, ids, mask = random_net(), torch.randint(20, (2, 6)), torch.ones(2, 6, dtype=torch.bool)
    h = net.embedding.weight[ids] + net.place
    for layer in net.layers:
        attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
        with torch.no_grad():
            parts = (layer.attention.q, layer.attention.k, layer.attention.v)
            attention.in_proj_weight.copy_(torch.cat([part.weight for part in parts]))
            attention.in_proj_bias.zero_()
            attention.out_proj.load_state_dict(layer.attention.out.state_dict())
        x = layer.norm1(h)
        h = h + attention(x, x, x, need_weights=False)[0]
        h = h + layer.feed_forward(layer.norm2(h))
    torch.testing.assert_close(net(ids, mask), net.norm(h))


def test_every_token_reads_all_others_and_their_order() -> None:
    net, mask = random_net(), torch.ones(1, 4, dtype=torch.bool)
    tokens = net(torch.tensor([[1, 2, 3, 4]]), mask)
    assert ((net(torch.tensor([[1, 2, 3, 5]]), mask) - tokens).abs().amax(2) > 1e-4).all()
    swapped = net(torch.tensor([[1, 3, 2, 4]]), mask)
    assert (swapped[:, [0, 2, 1, 3]] - tokens).abs().max() > 1e-3


def test_a_new_encoder_tells_words_apart_and_every_weight_learns() -> None:
    net, ids = TextEncoder(TINY), torch.arange(6)[None]
    mask = torch.ones(1, 6, dtype=torch.bool)
    tokens = net(ids, mask)[0]
    assert torch.pdist(tokens).min() > 0.5
    torch.testing.assert_close(tokens.mean(1), torch.zeros(6), atol=1e-5, rtol=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    for _ in range(3):  # the layers behind a zeroed one learn from the second update on
        optimizer.zero_grad()
        (net(ids, mask) * torch.randn(6, 8)).sum().backward()
        optimizer.step()
    after = net.state_dict()
    assert not [name for name, weight in before.items() if torch.equal(weight, after[name])]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"vocabulary": 0}, "vocabulary is 0 but must be at least 1"),
        ({"context": -1}, "context is -1 but must be at least 1"),
        ({"heads": 3}, "width is 8, not a multiple of heads, 3"),
    ],
)
def test_a_shape_that_cannot_be_built(change: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(TINY, **change)


def test_a_sequence_that_is_too_long_is_refused_in_words() -> None:
    with pytest.raises(
        ValueError, match="the sequence has 7 tokens but this text encoder reads at most 6"
    ):
        TextEncoder(TINY)(torch.zeros(1, 7).long(), torch.ones(1, 7).bool())
