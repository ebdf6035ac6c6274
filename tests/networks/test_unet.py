from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.config import dump, parse
from inkdrop.networks.unet import UNet, UNetConfig

TINY = UNetConfig(in_channels=2, width=8, multipliers=(1, 2), norm_groups=4, head_channels=8)
TOLD = dataclasses.replace(
    TINY, num_classes=3, cross_attention_dim=6, vector_dim=5, concat_channels=1
)


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def random_unet(config: UNetConfig) -> UNet:
    """A network whose zeroed layers are random too, ready for float64 comparisons."""
    net = UNet(config).double().eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return net


def inputs(config: UNetConfig, batch: int, *size: int) -> tuple[Tensor, Tensor, Cond]:
    cond = Cond(
        label=torch.arange(batch) % 4 if config.num_classes else None,
        tokens=torch.randn(batch, 4, 6).double() if config.cross_attention_dim else None,
        vector=torch.randn(batch, 5).double() if config.vector_dim else None,
        concat=torch.randn(batch, 1, *size).double() if config.concat_channels else None,
    )
    return torch.randn(batch, config.in_channels, *size).double(), 1000 * torch.rand(batch), cond


def test_a_new_network_returns_zeros_and_the_right_shape() -> None:
    net = UNet(dataclasses.replace(TINY, out_channels=4))
    y = net(torch.randn(3, 2, 8, 8), torch.rand(3), Cond())
    assert y.shape == (3, 4, 8, 8)
    assert not y.any()


@pytest.mark.parametrize(
    "size",
    [(1,), (13,), (16,), (1, 1), (13, 7), (8, 12), (1, 2, 3), (4, 5, 7)],
    ids=str,
)
@pytest.mark.parametrize("patch", [1, 2])
@pytest.mark.parametrize("resample", ["conv", "resblock", "pool"])
def test_any_size(size: tuple[int, ...], resample: Any, patch: int) -> None:
    config = dataclasses.replace(TINY, dims=len(size), resample=resample, patch=patch)
    x, t, cond = inputs(config, 2, *size)
    with torch.no_grad():
        y = random_unet(config)(x, t, cond)
    assert y.shape == x.shape
    assert bool(y.isfinite().all())


@pytest.mark.parametrize("size", [(1, 1), (13, 7), (8, 12)], ids=str)
def test_any_size_by_resizing(size: tuple[int, ...]) -> None:
    config = dataclasses.replace(TINY, odd_sizes="resize")
    x, t, cond = inputs(config, 2, *size)
    assert random_unet(config)(x, t, cond).shape == x.shape


def test_both_ways_of_odd_sizes_agree_where_nothing_is_odd() -> None:
    pad = random_unet(TINY)
    resize = UNet(dataclasses.replace(TINY, odd_sizes="resize")).double()
    resize.load_state_dict(pad.state_dict())
    x, t, cond = inputs(TINY, 2, 8, 12)
    torch.testing.assert_close(pad(x, t, cond), resize(x, t, cond))


@pytest.mark.parametrize("modulation", ["scale_shift", "add"])
@pytest.mark.parametrize("resample", ["conv", "resblock"])
def test_every_parameter_gets_a_gradient(resample: Any, modulation: Any) -> None:
    config = dataclasses.replace(TOLD, resample=resample, modulation=modulation)
    net = random_unet(config)
    x, t, cond = inputs(config, 4, 8, 8)
    (net(x, t, cond) ** 2).sum().backward()
    missing = [
        name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.any())
    ]
    assert missing == []


def test_a_sample_is_the_same_alone_and_in_a_batch() -> None:
    net = random_unet(TOLD)
    x, t, cond = inputs(TOLD, 3, 9, 8)
    together = net(x, t, cond)
    for i in range(3):
        one = slice(i, i + 1)
        torch.testing.assert_close(net(x[one], t[one], cond[one]), together[one])


def test_channels_last_agrees() -> None:
    net = random_unet(TOLD)
    x, t, cond = inputs(TOLD, 2, 16, 16)
    expected = net(x, t, cond)
    for parameter in net.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.to(memory_format=torch.channels_last)
    torch.testing.assert_close(net(x.to(memory_format=torch.channels_last), t, cond), expected)


@torch.no_grad()
def test_autocast_agrees() -> None:
    config = dataclasses.replace(TINY, num_classes=3)
    net = random_unet(config).float()
    x, t, cond = inputs(config, 2, 16, 16)
    expected = net(x.float(), t, cond)
    with torch.autocast("cpu", torch.bfloat16):
        low = net(x.float(), t, cond)
    assert float((low - expected).norm() / expected.norm()) < 0.05


def test_every_condition_matters() -> None:
    net = random_unet(TOLD)
    x, t, cond = inputs(TOLD, 2, 8, 8)
    base = net(x, t, cond)
    _, _, other = inputs(TOLD, 2, 8, 8)
    other = dataclasses.replace(other, label=torch.tensor([2, 3]))
    for field in ("label", "tokens", "vector", "concat"):
        changed = dataclasses.replace(cond, **{field: getattr(other, field)})
        assert not torch.allclose(net(x, t, changed), base)
    assert not torch.allclose(net(x, t + 1, cond), base)
    assert not torch.allclose(net(x, t + 0.5, cond), net(x, t, cond))


def test_the_null_label_is_the_last_row() -> None:
    config = dataclasses.replace(TINY, num_classes=3)
    net = random_unet(config)
    x, t, _ = inputs(config, 1, 8, 8)
    assert net.label is not None
    assert net.label.weight.shape[0] == 4
    null = net(x, t, Cond(label=torch.tensor([3])))
    with torch.no_grad():
        net.label.weight[:3] += 1
    assert torch.equal(net(x, t, Cond(label=torch.tensor([3]))), null)


def test_padded_tokens_do_not_matter() -> None:
    net = random_unet(TOLD)
    x, t, cond = inputs(TOLD, 2, 8, 8)
    assert cond.tokens is not None
    longer = torch.cat([cond.tokens, torch.randn(2, 3, 6).double()], dim=1)
    mask = torch.tensor([[True] * 4 + [False] * 3] * 2)
    padded = dataclasses.replace(cond, tokens=longer, mask=mask)
    torch.testing.assert_close(net(x, t, padded), net(x, t, cond))


def test_a_text_without_any_token_is_finite_and_says_nothing() -> None:
    net = random_unet(TOLD)
    x, t, cond = inputs(TOLD, 2, 8, 8)
    assert cond.tokens is not None
    mask = torch.tensor([[False] * 4, [True] * 4])
    empty = dataclasses.replace(cond, mask=mask)
    other = dataclasses.replace(empty, tokens=torch.randn(2, 4, 6).double())
    net.requires_grad_(True)
    y = net(x, t, empty)
    torch.testing.assert_close(net(x, t, other)[0], y[0])
    assert not torch.allclose(net(x, t, other)[1], y[1])
    torch.testing.assert_close(net(x, t, cond)[1], y[1])
    y.square().sum().backward()  # type: ignore[no-untyped-call]
    for name, parameter in net.named_parameters():
        assert parameter.grad is None or bool(parameter.grad.isfinite().all()), name


def test_dropout_acts_in_training_only() -> None:
    net = random_unet(dataclasses.replace(TINY, dropout=0.5))
    x, t, cond = inputs(TINY, 2, 8, 8)
    assert torch.equal(net(x, t, cond), net(x, t, cond))
    net.train()
    assert not torch.equal(net(x, t, cond), net(x, t, cond))


def test_config_survives_json() -> None:
    config = dataclasses.replace(TOLD, blocks=(1, 2), heads=(1, 2), transformer_depth=(1, 2))
    assert parse(UNetConfig, dump(config), "model.json") == config


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"dims": 4}, "dims is 4"),
        ({"width": 0}, "width is 0 but must be at least 1"),
        ({"width": 12}, "12 channels, not a multiple of norm_groups, 8"),
        ({"multipliers": ()}, "multipliers is empty"),
        ({"multipliers": (1, 0)}, "multipliers is"),
        ({"attention": (2,)}, "level 2 but the levels are 0 to 1"),
        ({"blocks": (1, 2, 3)}, "blocks has 3 numbers but there are 2 levels"),
        ({"head_channels": 7}, "heads of 7 channels; change width or head_channels"),
        ({"heads": 3}, "3 heads; change width or heads"),
        ({"dropout": 1.0}, "dropout is 1.0"),
        ({"concat_channels": -1}, "concat_channels is -1"),
        ({"modulation": "scaleshift"}, "Did you mean 'scale_shift'?"),
        ({"odd_sizes": "resize", "resample": "pool"}, "needs resample 'conv', not 'pool'"),
        ({"odd_sizes": "resize", "patch": 2}, "needs patch 1, not 2"),
    ],
    ids=str,
)
def test_a_bad_configuration_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=re.escape(words)):
        dataclasses.replace(TINY, **{"norm_groups": 8, **change})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"label": None}, "needs cond.label, a class from 0 to 3 (3 is the null label)"),
        ({"label": torch.tensor([0, 4])}, "label is 4 but must be from 0 to 3"),
        ({"label": torch.tensor([-1, 0])}, "label is -1 but must be from 0 to 3"),
        ({"tokens": None}, "needs cond.tokens, of size 6"),
        ({"tokens": torch.randn(2, 4, 7)}, "cond.tokens has size 7"),
        ({"mask": torch.ones(2, 5).bool()}, "cond.mask has shape [2, 5] but must be [2, 4]"),
        ({"vector": None}, "needs cond.vector, of size 5"),
        ({"concat": None}, "needs cond.concat, of size 1"),
        ({"concat": torch.randn(2, 3, 8, 8)}, "cond.concat has size 3"),
    ],
    ids=str,
)
def test_a_bad_condition_is_refused_in_words(change: dict[str, Any], words: str) -> None:
    x, t, cond = inputs(TOLD, 2, 8, 8)
    with pytest.raises(ValueError, match=re.escape(words)):
        UNet(TOLD).double()(x, t, dataclasses.replace(cond, **change))


@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 2, 8)], ids=str)
def test_a_bad_input_names_what_is_expected_and_given(shape: tuple[int, ...]) -> None:
    words = f"x has shape {list(shape)} but the network takes 2 channels and 2 spatial axes"
    with pytest.raises(ValueError, match=re.escape(words)):
        UNet(TINY)(torch.randn(shape), torch.rand(2), Cond())


@pytest.mark.parametrize("shape", [(), (1,), (2, 1)], ids=str)
def test_there_is_one_time_for_each_sample(shape: tuple[int, ...]) -> None:
    words = f"t has shape {list(shape)} but x holds 2 samples"
    with pytest.raises(ValueError, match=re.escape(words)):
        UNet(TINY)(torch.randn(2, 2, 8, 8), torch.rand(shape), Cond())


def test_a_size_that_cannot_be_halved_is_named() -> None:
    network = UNet(UNetConfig(width=8, multipliers=(1, 1, 1), norm_groups=4, head_channels=8,
                              down_padding="asymmetric", odd_sizes="resize"))  # fmt: skip
    assert network(torch.ones(1, 3, 4, 8), torch.ones(1), Cond()).shape == (1, 3, 4, 8)
    with pytest.raises(ValueError, match=r"a level has \[1, 2\] places, which cannot be halved"):
        network(torch.ones(1, 3, 2, 4), torch.ones(1), Cond())
