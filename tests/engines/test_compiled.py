"""What is compiled computes what the network does; a network of one layer, since it takes long."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.engines.compiled import COMPILED
from inkdrop.engines.engine import Call

CPU = torch.device("cpu")


class Small(nn.Module):
    """One layer, told a vector."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.vector is not None
        y: Tensor = self.layer(x) * t[:, None] + cond.vector
        return y


def call(batch: int) -> Call:
    return Call(torch.randn(batch, 6), torch.rand(batch), Cond(vector=torch.randn(batch, 6)))


@pytest.mark.skipif(
    COMPILED.lacks(nn.Identity(), CPU, "float32") is not None, reason="there is no compiler"
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_it_says_what_the_network_says_and_weights_are_frozen_into_it() -> None:
    network = Small()
    asked = call(3)
    wanted = network(*asked).detach()
    compiled = COMPILED.prepare(network, asked, "float32")
    for _ in range(2):
        torch.testing.assert_close(compiled(*asked), wanted)
    with torch.no_grad():
        network.layer.weight.zero_()  # which what is compiled does not look at any more
    torch.testing.assert_close(compiled(*asked), wanted)


def test_without_a_compiler_it_says_so() -> None:
    from torch._inductor import config
    from torch._inductor.cpp_builder import cpp_compiler_search

    cpp_compiler_search.cache_clear()
    try:
        with config.patch({"cpp.cxx": ("no-such-compiler",)}):
            why = COMPILED.lacks(nn.Identity(), CPU, "float32")
    finally:
        cpp_compiler_search.cache_clear()
    assert why == "it needs a C++ compiler, such as g++; install one, or use packed"
