"""A control branch over any axes: what it adds, where it fits, and what it refuses."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond, cat
from inkdrop.networks.control import Control, Controlled, ControlNet, ControlNetConfig, unet_of
from inkdrop.networks.reuse import Reused
from inkdrop.networks.unet import UNet, UNetConfig

TINY = UNetConfig(
    in_channels=2, width=8, multipliers=(1, 2), blocks=1, head_channels=4, norm_groups=4,
    num_classes=3,
)  # fmt: skip


def random(network: nn.Module) -> nn.Module:
    """With no weight at zero."""
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.2)
    return network.eval().requires_grad_(False)


def pair(dims: int, **more: object) -> tuple[UNet, ControlNet]:
    torch.manual_seed(0)
    config = replace(TINY, dims=dims, **more)
    unet = random(UNet(config))
    branch = random(ControlNet(ControlNetConfig(config, 1, hint_widths=(4, 8))))
    assert isinstance(unet, UNet) and isinstance(branch, ControlNet)
    return unet, branch


def call(dims: int, batch: int = 2) -> tuple[Tensor, Tensor, Cond]:
    torch.manual_seed(1)
    hint = torch.rand(batch, 1, *(14, 10, 6)[:dims])
    x = torch.randn(batch, 2, *(7, 5, 3)[:dims])
    return x, torch.tensor([3.0, 400.0])[:batch], Cond(label=torch.arange(batch), hint=hint)


@pytest.mark.parametrize("dims", [1, 2, 3])
def test_odd_sizes_over_any_axes(dims: int) -> None:
    unet, branch = pair(dims)
    x, t, cond = call(dims)
    network = Controlled(unet, [Control(branch, 0.5)])
    said = network(x, t, cond)
    assert said.shape == x.shape and not torch.allclose(said, unet(x, t, cond), atol=1e-3)
    # By hand: what the branch says, added to the maps that the U-Net keeps.
    added, context = branch(x, t, cond), unet.context(t, cond)
    prepared, crop = unet.prepared(x, cond)
    h, skips = unet.encode(prepared, context)
    skips = [s + 0.5 * a for s, a in zip(skips, added.skips, strict=True)]
    assert added.middle is not None
    h = unet.middle(h, context) + 0.5 * added.middle
    h = unet.decode(h, skips, context, range(1, -1, -1))
    assert torch.allclose(said, unet.finished(h, crop), atol=1e-6)
    assert torch.equal(Controlled(unet, [Control(branch, 0.0)])(x, t, cond), unet(x, t, cond))


def test_a_bound_hint_is_read_in_every_batch() -> None:
    unet, branch = pair(2)
    x, t, cond = call(2)
    bound = Controlled(unet, [Control(branch, 1.0, cond.hint)])
    plain = replace(cond, hint=None)
    expected = Controlled(unet, [Control(branch)])(x, t, cond)
    assert torch.allclose(bound(x, t, plain), expected, atol=1e-6)
    # Guidance in one call: the batch twice over.
    both = bound(torch.cat([x, x]), torch.cat([t, t]), cat([plain, plain]))
    assert torch.allclose(both, torch.cat([expected, expected]), atol=1e-5)
    assert not any("told" in name for name in bound.state_dict())


def test_controls_add_up() -> None:
    unet, branch = pair(2)
    x, t, cond = call(2)
    twice = Controlled(unet, [Control(branch, 0.5), Control(branch, 0.5)])(x, t, cond)
    assert torch.allclose(twice, Controlled(unet, [Control(branch)])(x, t, cond), atol=1e-5)


def test_deep_features_are_reused_of_the_branch_too() -> None:
    unet, branch = pair(2)
    x, t, cond = call(2)
    network = Controlled(unet, [Control(branch, 0.7)])
    out, kept = network.deep(x, t, cond, 1)
    assert torch.equal(out, network(x, t, cond))
    assert torch.allclose(network.shallow(x, t, cond, kept, 1), out, atol=1e-6)
    reused = Reused(network, 2)
    first, second = reused(x, t, cond), reused(x + 0.1, t, cond)
    assert torch.equal(first, out) and not torch.equal(second, network(x + 0.1, t, cond))
    assert torch.allclose(second, network.shallow(x + 0.1, t, cond, kept, 1))


def test_a_branch_begins_as_its_unet() -> None:
    unet, _ = pair(2)
    branch = ControlNet.beside(unet, hint_channels=1)
    own = unet.state_dict()
    shared = {name for name in branch.state_dict() if name in own}
    assert {name.split(".")[0] for name in shared} == {"time", "label", "input", "down", "mid"}
    assert all(torch.equal(branch.state_dict()[name], own[name]) for name in shared)
    x, t, cond = call(2)
    hint = torch.rand(2, 1, 56, 40)
    network = Controlled(unet, [Control(branch)])
    assert torch.equal(network(x, t, replace(cond, hint=hint)), unet(x, t, cond))


def test_what_does_not_fit() -> None:
    unet, branch = pair(2)
    x, t, cond = call(2)
    network = Controlled(unet, [Control(branch)])
    with pytest.raises(ValueError, match=r"needs cond\.hint, of size 1"):
        network(x, t, replace(cond, hint=None))
    with pytest.raises(ValueError, match="the hint is 16x10, but the sample is 14x10"):
        network(x, t, replace(cond, hint=torch.rand(2, 1, 16, 10)))
    with pytest.raises(ValueError, match="sizes that are multiples of 2"):
        network(x, t, replace(cond, hint=torch.rand(2, 1, 15, 10)))
    with pytest.raises(ValueError, match="a U-Net with width 16, but this one has 8"):
        other = ControlNet(ControlNetConfig(replace(TINY, width=16), 1))
        Controlled(unet, [Control(other)])
    with pytest.raises(ValueError, match="is a Linear, but only a U-Net"):
        unet_of(nn.Linear(1, 1))
    with pytest.raises(ValueError, match="hint_order"):
        ControlNetConfig(TINY, hint_order="gbr")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="patch 1, not 2"):
        ControlNetConfig(replace(TINY, patch=2))
    assert unet_of(network) is unet
