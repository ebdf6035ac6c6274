"""Weights in half precision, computed with in float32: the network of the rounded weights."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.conditioning.text import Text
from inkdrop.conditioning.tokenizer import train_tokenizer
from inkdrop.convert.open import open_checkpoint
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import Eps
from inkdrop.engines.halved import Kept, halve, halved
from inkdrop.model import Model, Spec
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.dit import DiT, DiTConfig
from inkdrop.networks.text import TextEncoder, TextEncoderConfig
from inkdrop.networks.unet import UNet, UNetConfig

UNET = UNetConfig(in_channels=4, width=32, multipliers=(1, 2), attention=(0, 1), heads=4,
                  cross_attention_dim=16, modulation="add")  # fmt: skip
CODER = AutoencoderConfig(width=32, multipliers=(1, 2))
TEXT = TextEncoderConfig(vocabulary=300, width=16, layers=1, heads=2, context=8)


def filled(network: nn.Module) -> nn.Module:
    """With weights of which none is nothing."""
    with torch.no_grad():
        for value in network.parameters():
            value.normal_(std=0.1)
    return network.eval().requires_grad_(False)


def rounded(network: nn.Module) -> nn.Module:
    """A copy in float32 whose layers have the weights that float16 holds."""
    made = copy.deepcopy(network)
    for layer in made.modules():
        if hasattr(layer, "weight") and "Norm" not in type(layer).__name__:
            layer.weight = nn.Parameter(layer.weight.half().float(), requires_grad=False)
    return made


def calls(network: nn.Module) -> Tensor:
    torch.manual_seed(0)
    if isinstance(network, Autoencoder):
        return network(torch.randn(2, 3, 64, 64))
    if isinstance(network, TextEncoder):
        return network(torch.arange(8).view(2, 4), torch.ones(2, 4, dtype=torch.bool))
    told = Cond(tokens=torch.randn(2, 5, 16), mask=torch.ones(2, 5, dtype=torch.bool))
    return network(torch.randn(2, 4, 32, 32), torch.tensor([1.0, 500.0]), told)


@pytest.mark.parametrize(
    "make",
    [
        lambda: UNet(UNET),
        lambda: Autoencoder(CODER),
        lambda: TextEncoder(TEXT),
        lambda: DiT(DiTConfig(in_channels=4, width=32, depth=2, heads=2, text="cross",
                              tokens_dim=16)),
    ],
    ids=["unet", "autoencoder", "text", "dit"],
)  # fmt: skip
def test_it_is_the_network_of_the_rounded_weights_to_the_bit(make) -> None:
    network = filled(make())
    expected = calls(rounded(network))
    kept = halve(network)
    assert type(kept) is type(network)
    assert torch.equal(calls(kept), expected)
    assert all(value.dtype == torch.float32 for value in kept.parameters())
    bytes_ = sum(v.numel() * v.element_size() for v in kept.state_dict().values())
    assert bytes_ < 0.55 * 4 * sum(v.numel() for v in kept.state_dict().values())


def test_weights_of_a_half_file_are_kept_as_they_are() -> None:
    for dtype in (torch.float16, torch.bfloat16):
        network = filled(UNet(UNET)).to(dtype)
        wide = copy.deepcopy(network).float()
        weight = network.mid[0].block.conv1.weight
        kept = halve(network)
        assert kept.mid[0].block.conv1.half_weight.data_ptr() == weight.data_ptr()
        assert torch.equal(calls(kept), calls(wide))


def test_numbers_beyond_float16_are_kept_in_bfloat16() -> None:
    network = nn.Sequential(nn.Linear(4, 4, bias=False))
    with torch.no_grad():
        network[0].weight.fill_(2.0**20)
    kept = halve(network)
    assert isinstance(kept[0], Kept) and kept[0].half_weight.dtype == torch.bfloat16
    assert torch.equal(kept(torch.ones(1, 4)), torch.full((1, 4), 2.0**22))


def test_a_layer_in_two_places_stays_one() -> None:
    layer = nn.Linear(4, 4)
    kept = halve(nn.Sequential(layer, nn.Sequential(layer)))
    assert kept[0] is kept[1][0]


def test_a_whole_model_is_saved_in_half_and_opened_again(tmp_path: Path) -> None:
    words = train_tokenizer(["a red cat", "a blue dog"], 300)
    text = Text(words, filled(TextEncoder(TEXT)))
    network = filled(UNet(dataclasses.replace(UNET, in_channels=3)))
    model = Model(network, Discrete(), Eps(), Spec((3, 16, 16), condition_drop=0.1), text=text)
    model.save(tmp_path / "whole")
    opened, _ = open_checkpoint(tmp_path / "whole", dtype=None)
    kept = halved(opened)
    said = kept.condition(["a red cat"])
    assert said.tokens is not None and said.tokens.dtype == torch.float32
    x, t = torch.randn(1, 3, 16, 16), torch.tensor([0.5], dtype=torch.float64)
    expected = kept.denoise(x, t, said)
    kept.save(tmp_path / "half")
    size = (tmp_path / "half" / "network.safetensors").stat().st_size
    assert size < 0.6 * (tmp_path / "whole" / "network.safetensors").stat().st_size
    again, _ = open_checkpoint(tmp_path / "half", dtype=torch.float32)
    assert torch.equal(again.denoise(x, t, again.condition(["a red cat"])), expected)
