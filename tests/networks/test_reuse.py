"""Reused features: nothing changes where nothing is reused, and what is reused is what was kept."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.networks.reuse import Reused
from inkdrop.networks.unet import UNet, UNetConfig


def unet(**changes: object) -> UNet:
    torch.manual_seed(0)
    config = {"width": 8, "multipliers": (1, 2, 2), "blocks": 1, "norm_groups": 4, **changes}
    network = UNet(UNetConfig(in_channels=2, head_channels=8, **config))  # type: ignore[arg-type]
    for weight in network.parameters():
        if not bool(weight.any()):  # what begins at zero would hide what is before it
            nn.init.normal_(weight, std=0.2)
    return network.eval()


def inputs(seed: int = 0, batch: int = 2) -> tuple[Tensor, Tensor]:
    x = torch.randn(batch, 2, 9, 9, generator=torch.Generator().manual_seed(seed))
    return x, torch.full((batch,), 400.0 - seed)


@torch.no_grad()
@pytest.mark.parametrize("changes", [{}, {"odd_sizes": "resize"}, {"resample": "resblock"}])
@pytest.mark.parametrize("shallow", [1, 2])
def test_same_input_gives_the_same_output_from_kept_features(
    changes: dict[str, object], shallow: int
) -> None:
    network, cond = unet(**changes), Cond()
    reused, (x, t) = Reused(network, 3, shallow), inputs()
    want = network(x, t, cond)
    for _ in range(3):  # computed, and then twice from what was kept
        assert torch.equal(reused(x, t, cond), want)


@torch.no_grad()
def test_deep_levels_run_every_third_call_and_differ_little_for_near_inputs() -> None:
    network, cond, calls = unet(), Cond(), list[int]()
    network.mid[0].register_forward_hook(lambda *_: calls.append(1))
    reused = Reused(network, 3)
    for i in range(7):
        reused(*inputs(i), cond)
    assert len(calls) == 3
    x, t = inputs()
    fresh = Reused(network, 2)
    fresh(x, t, cond)
    near, far = x + 1e-3 * torch.randn_like(x), inputs(3)[0]
    for other, most in ((near, 0.02), (far, 10.0)):
        gap = (Reused.forward(fresh, other, t, cond) - network(other, t, cond)).abs().max()
        assert 0 < gap < most
        fresh(x, t, cond)


@torch.no_grad()
def test_each_condition_and_batch_size_has_features_of_its_own() -> None:
    network = unet(num_classes=2)
    x, t = inputs()
    cat, dog = (Cond(label=torch.full((2,), c)) for c in (0, 1))
    reused = Reused(network, 2)
    first = [reused(x, t, cond) for cond in (cat, dog)]
    second = [reused(x, t, cond) for cond in (cat, dog)]
    assert not torch.equal(*first)
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert reused(*inputs(batch=1), Cond(label=torch.tensor([0]))).shape[0] == 1


def test_bad_use_is_refused() -> None:
    with pytest.raises(ValueError, match="is a Conv2d, but only a U-Net's features can be"):
        Reused(nn.Conv2d(1, 1, 1), 2)
    with pytest.raises(ValueError, match="has 3 levels; give 1 to 2"):
        Reused(unet(), 2, shallow=3)
