"""The diffusion transformer: sizes, gradients, conditions; the empty text is no text at all."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.config import dump, parse
from inkdrop.networks.dit import DiT, DiTConfig, patchify, positions, unpatchify
from inkdrop.registry import build_network, describe_network

TINY = DiTConfig(in_channels=2, width=12, depth=2, heads=2)
CROSS, JOINT = (
    dataclasses.replace(
        TINY, text=text, tokens_dim=6, num_classes=3, vector_dim=5, concat_channels=1, qk_norm=True
    )
    for text in ("cross", "joint")
)
BOTH = pytest.mark.parametrize("config", [CROSS, JOINT], ids=["cross", "joint"])
EVERY = pytest.mark.parametrize("config", [TINY, CROSS, JOINT], ids=["none", "cross", "joint"])


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_dit(config: DiTConfig) -> DiT:
    """A network whose zeroed layers are random too, ready for float64 comparisons."""
    net = DiT(config).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return net


def inputs(config: DiTConfig, batch: int, *size: int) -> tuple[Tensor, Tensor, Cond]:
    cond = Cond(
        label=torch.arange(batch) % 4 if config.num_classes else None,
        tokens=torch.randn(batch, 4, 6).double() if config.tokens_dim else None,
        vector=torch.randn(batch, 5).double() if config.vector_dim else None,
        concat=torch.randn(batch, 1, *size).double() if config.concat_channels else None,
    )
    return torch.randn(batch, config.in_channels, *size).double(), 1000 * torch.rand(batch), cond


@EVERY
def test_a_new_network_returns_zeros_and_the_right_shape(config: DiTConfig) -> None:
    net = DiT(dataclasses.replace(config, out_channels=4)).double()
    y = net(*inputs(config, 3, 8, 8))
    assert y.shape == (3, 4, 8, 8)
    assert not y.any()


@BOTH
def test_new_blocks_change_nothing(config: DiTConfig) -> None:
    x, emb, tokens = torch.randn(2, 5, 12), torch.randn(2, 12), torch.randn(2, 4, 12)
    for block in DiT(config).blocks:
        y, after = block(x, tokens, emb, None)
        assert torch.equal(y, x) and torch.equal(after, tokens)


@pytest.mark.parametrize(
    "size", [(1,), (13,), (16,), (1, 1), (13, 7), (8, 12), (1, 2, 3), (4, 5, 7)], ids=str
)
@pytest.mark.parametrize("patch", [1, 2, 3])
@EVERY
def test_any_size(size: tuple[int, ...], config: DiTConfig, patch: int) -> None:
    config = dataclasses.replace(config, dims=len(size), patch=patch, depth=1)
    x, t, cond = inputs(config, 2, *size)
    with torch.no_grad():
        y = random_dit(config)(x, t, cond)
    assert y.shape == x.shape
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("size", [(6,), (4, 6), (2, 4, 6)], ids=str)
def test_patches_are_those_of_a_convolution(size: tuple[int, ...]) -> None:
    x = torch.randn(2, 3, *size).double()
    kernel = torch.randn(5, 3, *(2,) * len(size)).double()
    convolve = (torch.conv1d, torch.conv2d, torch.conv3d)[len(size) - 1]
    expected = convolve(x, kernel, stride=2).flatten(2).transpose(1, 2)
    tokens = patchify(x, 2)
    torch.testing.assert_close(tokens @ kernel.flatten(1).T, expected)
    assert torch.equal(unpatchify(tokens, [n // 2 for n in size], 2), x)


@pytest.mark.parametrize(("places", "width"), [((5,), 7), ((3, 4), 14), ((2, 3, 4), 20)], ids=str)
def test_positions_are_the_formula(places: tuple[int, ...], width: int) -> None:
    dims = len(places)
    share = width // (2 * dims) * 2
    found = positions(places, width, torch.device("cpu")).view(*places, width)
    for place in torch.cartesian_prod(*(torch.arange(n) for n in places)).view(-1, dims).tolist():
        expected = []
        for index in reversed(place):
            angles = [index * 1e4 ** (-2 * k / share) for k in range(share // 2)]
            expected += [math.sin(a) for a in angles] + [math.cos(a) for a in angles]
        expected += [0.0] * (width - dims * share)
        torch.testing.assert_close(found[tuple(place)], torch.tensor(expected))


@EVERY
def test_every_parameter_gets_a_gradient(config: DiTConfig) -> None:
    net = random_dit(config)
    x, t, cond = inputs(config, 4, 8, 8)
    (net(x, t, cond) ** 2).sum().backward()
    missing = [
        name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())
    ]
    assert missing == []


@BOTH
def test_a_sample_is_the_same_alone_and_in_a_batch(config: DiTConfig) -> None:
    net = random_dit(config)
    x, t, cond = inputs(config, 3, 9, 8)
    cond = dataclasses.replace(cond, mask=torch.tensor([[1, 1, 1, 0], [0] * 4, [1] * 4]).bool())
    together = net(x, t, cond)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(net(x[one], t[one], cond[one]), together[one])


def cast(cond: Cond, dtype: torch.dtype) -> Cond:
    """The condition with its numbers, but not its labels, in another precision."""
    floats = {k: v for k, v in vars(cond).items() if v is not None and v.is_floating_point()}
    return dataclasses.replace(cond, **{k: v.to(dtype) for k, v in floats.items()})


@torch.no_grad()
@EVERY
def test_low_precision_agrees(config: DiTConfig) -> None:
    net = random_dit(config).float()
    x, t, cond = inputs(config, 2, 16, 16)
    single = cast(cond, torch.float32)
    expected = net(x.float(), t, single)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x.float(), t, single)
    assert low.dtype == torch.bfloat16
    assert float((low - expected).norm() / expected.norm()) < 0.02
    low = net.bfloat16()(x.bfloat16(), t, cast(cond, torch.bfloat16))
    assert low.dtype == torch.bfloat16
    assert float((low - expected).norm() / expected.norm()) < 0.05


@BOTH
def test_every_condition_matters(config: DiTConfig) -> None:
    net = random_dit(config)
    x, t, cond = inputs(config, 2, 8, 8)
    base = net(x, t, cond)
    _, _, other = inputs(config, 2, 8, 8)
    other = dataclasses.replace(other, label=torch.tensor([2, 3]))
    for field in ("label", "tokens", "vector", "concat"):
        changed = dataclasses.replace(cond, **{field: getattr(other, field)})
        assert not torch.allclose(net(x, t, changed), base)
    assert not torch.allclose(net(x, t + 0.5, cond), base)


@BOTH
def test_padded_tokens_do_not_matter(config: DiTConfig) -> None:
    net = random_dit(config)
    x, t, cond = inputs(config, 2, 8, 8)
    assert cond.tokens is not None
    longer = torch.cat([cond.tokens, 100 * torch.randn(2, 3, 6).double()], dim=1)
    mask = torch.tensor([[True] * 4 + [False] * 3] * 2)
    padded = dataclasses.replace(cond, tokens=longer, mask=mask)
    torch.testing.assert_close(net(x, t, padded), net(x, t, cond))


@BOTH
@pytest.mark.parametrize("length", [0, 4])
def test_the_empty_text_is_no_text(config: DiTConfig, length: int) -> None:
    net = random_dit(config)
    without = DiT(dataclasses.replace(config, text="none", tokens_dim=None)).double()
    weights = net.state_dict()
    without.load_state_dict({name: weights[name] for name in without.state_dict()})
    x, t, cond = inputs(config, 2, 8, 8)
    empty = dataclasses.replace(
        cond,
        tokens=torch.randn(2, length, 6, dtype=torch.float64),
        mask=torch.zeros(2, length, dtype=torch.bool),
    )
    y = net(x, t, empty)
    torch.testing.assert_close(y, without(x, t, cond))
    y.sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in net.parameters() if p.grad is not None)


def test_network_survives_json() -> None:
    net = DiT(JOINT)
    described = describe_network(net)
    assert described == {"kind": "dit", **dump(JOINT)}
    again = build_network(described, "model.json")
    assert again.config == parse(DiTConfig, dump(JOINT), "model.json") == JOINT
    again.load_state_dict(net.state_dict())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dims": 4}, "dims is 4"),
        ({"patch": 0}, "patch is 0 but must be at least 1"),
        ({"depth": 0}, "depth is 0 but must be at least 1"),
        ({"mlp_ratio": 0.01}, "mlp_ratio is 0.01"),
        ({"heads": 5}, "width is 12, not a multiple of heads, 5"),
        ({"dims": 3, "width": 4}, "width is 4 but the position embedding over 3 axes needs"),
        ({"concat_channels": -1}, "concat_channels is -1"),
        ({"text": "crosses"}, "Did you mean 'cross'?"),
        ({"text": "joint"}, "text is 'joint', which needs tokens_dim"),
        ({"tokens_dim": 6}, "tokens_dim is 6 but text is 'none'"),
    ],
    ids=str,
)
def test_a_bad_configuration_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        dataclasses.replace(TINY, **change)


@BOTH
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, "needs cond.label, a class from 0 to 3 (3 is the null label)"),
        ({"label": torch.tensor([0, 4])}, "label is 4 but must be from 0 to 3"),
        ({"tokens": None}, "needs cond.tokens, of size 6"),
        ({"tokens": torch.randn(2, 4, 7)}, "cond.tokens has size 7"),
        ({"mask": torch.ones(2, 5).bool()}, "cond.mask has shape [2, 5] but must be [2, 4]"),
        ({"vector": None}, "needs cond.vector, of size 5"),
        ({"concat": None}, "needs cond.concat, of size 1"),
    ],
    ids=str,
)
def test_a_bad_condition_is_refused_in_words(
    config: DiTConfig, change: dict[str, Any], words: str
) -> None:
    x, t, cond = inputs(config, 2, 8, 8)
    with pytest.raises(ValueError, match=re.escape(words)):
        DiT(config).double()(x, t, dataclasses.replace(cond, **change))


def test_a_bad_input_names_what_is_expected_and_given() -> None:
    with pytest.raises(ValueError, match=r"x has shape \[2, 3, 8, 8\] but the network takes 2"):
        DiT(TINY)(torch.randn(2, 3, 8, 8), torch.rand(2), Cond())
    with pytest.raises(ValueError, match=r"t has shape \[1\] but x holds 2 samples"):
        DiT(TINY)(torch.randn(2, 2, 8, 8), torch.rand(1), Cond())
