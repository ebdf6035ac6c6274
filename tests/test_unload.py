"""Memory given back: what the system counts falls to what it was, and the model says so."""

from __future__ import annotations

import copy
import sys

import pytest
import torch
from resident import resident
from torch import nn

from inkdrop.engines.halved import halve
from inkdrop.unload import Unloaded, unload

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
MODEL = """
from torch import nn
from inkdrop.codecs.identity import Identity
from inkdrop.diffusion.parameterization import Eps
from inkdrop.diffusion.process import Flow
from inkdrop.engines.halved import halved
from inkdrop.model import Model, Spec
from inkdrop.networks.unet import UNet, UNetConfig
config = UNetConfig(in_channels=3, width={width}, multipliers=(1, 1), blocks=1)
def make():
    network = UNet(config).eval().requires_grad_(False)
    return Model(network, Flow(), Eps(), Spec((3, 8, 8)))
def call(model):
    model.denoise(torch.zeros(1, 3, 8, 8), torch.ones(1, dtype=torch.float64) / 2, model.null(1))
"""


@linux
@pytest.mark.parametrize("way", ["made", "halved(made)"])
def test_memory_falls_to_what_it_was(way: str) -> None:
    # Many layers of some megabytes, which the allocator would keep for later.
    said = resident(
        MODEL.format(width=512) + "from inkdrop.unload import unload\n"
        "config, large = UNetConfig(in_channels=3, width=32), config\n"
        "call(make())\nconfig = large\n"
        f"note('before')\nmade = make()\nmade = {way}\ncall(made)\nnote('used')\n"
        "made.unload()\nnote('after')"
    )
    used, after = (said[name]["RssAnon"] - said["before"]["RssAnon"] for name in ("used", "after"))
    assert used > 100
    assert after < 0.15 * used


def test_an_unloaded_network_says_so_and_those_that_share_its_weights_go_on() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    shared = {id(value): value for value in network.parameters()}
    other = copy.deepcopy(network, shared)
    expected = other(torch.ones(1, 2))
    unload(network)
    assert isinstance(network, Unloaded)
    for use in (lambda: network(torch.ones(1, 2)), lambda: network.weight):
        with pytest.raises(ValueError, match="this model was unloaded"):
            use()
    assert torch.equal(other(torch.ones(1, 2)), expected)
    unload(network, halve(other))  # twice does no harm
    assert isinstance(other, Unloaded)
