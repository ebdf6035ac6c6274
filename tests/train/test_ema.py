"""The averaged weights against the sum that defines them."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from inkdrop.train.ema import average, decay_at, snapshot


def test_the_average_is_the_weighted_sum_of_all_weights_so_far() -> None:
    torch.manual_seed(0)
    network = nn.Linear(3, 2).double()
    ema, seen = snapshot(network), [network.weight.detach().clone()]
    decays = [0.5, 0.9, 0.25, 0.75, 0.9]
    for decay in decays:
        with torch.no_grad():
            network.weight.normal_()
        seen.append(network.weight.detach().clone())
        average(ema, network, decay)
    # weights n came in with 1 - decay n and have shrunk by every later decay
    share, want = 1.0, torch.zeros(2, 3, dtype=torch.float64)
    for weight, decay in zip(reversed(seen[1:]), reversed(decays), strict=True):
        want += share * (1 - decay) * weight
        share *= decay
    torch.testing.assert_close(ema["weight"], want + share * seen[0])


def test_constant_decay_forgets_geometrically() -> None:
    network = nn.Linear(1, 1, bias=False).double()
    with torch.no_grad():
        network.weight.fill_(0.0)
    ema = snapshot(network)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for _ in range(50):
        average(ema, network, 0.97)
    assert float(ema["weight"]) == pytest.approx(1 - 0.97**50)


@pytest.mark.parametrize(
    ("update", "decay"), [(0, 0.1), (1, 2 / 11), (90, 0.91), (8990, 0.999), (10**6, 0.999)]
)
def test_decay_is_short_at_first_and_then_what_was_asked(update: int, decay: float) -> None:
    assert decay_at(0.999, update) == pytest.approx(decay, abs=1e-12)
    assert decay_at(0.05, update) == 0.05


def test_buffers_are_copied_as_they_are_and_averaged_if_they_are_numbers() -> None:
    network = nn.BatchNorm1d(2)
    ema = snapshot(network)
    assert network.num_batches_tracked is not None and network.running_mean is not None
    network.num_batches_tracked.fill_(7)
    network.running_mean.fill_(4.0)
    average(ema, network, 0.75)
    assert int(ema["num_batches_tracked"]) == 7
    assert ema["running_mean"].tolist() == [1.0, 1.0]
    network.num_batches_tracked.fill_(9)
    assert int(ema["num_batches_tracked"]) == 7


def test_a_snapshot_is_a_copy_in_at_least_float32() -> None:
    network = nn.Linear(2, 2).half()
    ema = snapshot(network)
    before = ema["weight"].clone()
    assert before.dtype == torch.float32 and torch.equal(before, network.weight.detach().float())
    with torch.no_grad():
        network.weight.add_(1)
    assert torch.equal(ema["weight"], before)
    assert snapshot(nn.Linear(2, 2).double())["weight"].dtype == torch.float64
