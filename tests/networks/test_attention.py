from __future__ import annotations

import pytest
import torch
from torch import nn

from inkdrop.networks.attention import Attention, AttentionBlock, Transformer
from inkdrop.networks.resblock import BlockStyle

STYLE = BlockStyle(2, groups=2)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def test_attention_is_torchs_multihead_attention() -> None:
    ours, theirs = Attention(8, 2), nn.MultiheadAttention(8, 2, batch_first=True)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([ours.q.weight, ours.k.weight, ours.v.weight]))
        theirs.in_proj_bias.copy_(torch.cat([ours.q.bias, ours.k.bias, ours.v.bias]))
        theirs.out_proj.load_state_dict(ours.out.state_dict())
    x, context = torch.randn(3, 5, 8), torch.randn(3, 4, 8)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 1, 0], [0, 0, 0, 1]]).bool()
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])
    expected = theirs(x, context, context, key_padding_mask=~mask, need_weights=False)[0]
    torch.testing.assert_close(ours(x, context, mask), expected)


def test_normed_queries_and_keys_have_mean_square_one() -> None:
    attention, x = Attention(8, 2, qk_norm=True), torch.randn(3, 5, 8)
    q, k, v = (
        layer(x).unflatten(2, (2, 4)).transpose(1, 2)
        for layer in (attention.q, attention.k, attention.v)
    )
    q, k = (each / each.square().mean(-1, keepdim=True).sqrt() for each in (q, k))
    found = (q @ k.transpose(2, 3) / 4**0.5).softmax(-1) @ v
    expected = attention.out(found.transpose(1, 2).flatten(2))
    torch.testing.assert_close(attention(x), expected, atol=1e-4, rtol=1e-4)


def test_masked_tokens_do_not_matter() -> None:
    attention = Attention(8, 2, context=6)
    x, context = torch.randn(2, 5, 8), torch.randn(2, 4, 6)
    mask = torch.tensor([[True, True, False, False]] * 2)
    torch.testing.assert_close(attention(x, context, mask), attention(x, context[:, :2]))


def test_a_sample_without_any_token_attends_to_nothing() -> None:
    attention = Attention(8, 2, context=6)
    x = torch.randn(2, 5, 8, requires_grad=True)
    mask = torch.tensor([[True] * 4, [False] * 4])
    y = attention(x, torch.randn(2, 4, 6), mask)
    torch.testing.assert_close(y[1], attention.out.bias.expand(5, 8))
    y.sum().backward()
    assert x.grad is not None
    assert bool(x.grad.isfinite().all())


@pytest.mark.parametrize("length", [5, 600])
def test_low_precision_agrees_with_float32(length: int) -> None:
    attention, x = Attention(8, 2), torch.randn(1, length, 8)
    with torch.autocast("cpu", torch.bfloat16):
        low = attention(x)
    assert low.dtype == torch.bfloat16
    torch.testing.assert_close(low.float(), attention(x), atol=0.02, rtol=0.02)


def test_a_new_block_changes_nothing() -> None:
    x, tokens = torch.randn(2, 4, 3, 5), torch.randn(2, 3, 6)
    assert torch.equal(AttentionBlock(STYLE, 4, 2)(x), x)
    transformer = Transformer(STYLE, 4, 2, depth=2, context=6, projection="conv")
    assert torch.equal(transformer(x, tokens), x)


@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_a_block_sees_all_places_and_no_order(memory: torch.memory_format) -> None:
    block = AttentionBlock(STYLE, 4, 2)
    nn.init.normal_(block.attention.out.weight)
    x = torch.randn(2, 4, 3, 5).contiguous(memory_format=memory)
    order = torch.randperm(15)
    shuffled = x.flatten(2)[:, :, order].view(x.shape)
    expected = block(x).flatten(2)[:, :, order].view(x.shape)
    torch.testing.assert_close(block(shuffled), expected)


def test_both_projections_compute_the_same() -> None:
    conv, linear = (
        Transformer(STYLE, 4, 2, depth=2, context=6, projection=p) for p in ("conv", "linear")
    )
    with torch.no_grad():
        for parameter in conv.project_out.parameters():
            parameter.normal_()
    weights = conv.state_dict()
    for name in ("project_in.weight", "project_out.weight"):
        weights[name] = weights[name].flatten(1)
    linear.load_state_dict(weights)
    x, tokens = torch.randn(2, 4, 3, 5), torch.randn(2, 3, 6)
    torch.testing.assert_close(conv(x, tokens), linear(x, tokens))
