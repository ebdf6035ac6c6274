"""The exponential moving average (EMA) of the weights, which samples better than the last ones."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decay_at(decay: float, update: int) -> float:
    """The decay after update number `update`: low at first, so that early weights are forgotten."""
    return min(decay, (1 + update) / (10 + update))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight and buffer by name; floating-point ones in at least float32."""
    return {name: _wide(value.detach().clone()) for name, value in network.state_dict().items()}


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() and value.dtype.itemsize < 4 else value


@torch.no_grad()
def average(ema: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """In place: ema <- decay * ema + (1 - decay) * weights."""
    now = network.state_dict()
    names = [name for name, value in ema.items() if value.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in names], [now[n] for n in names], 1 - decay)
    for name in ema.keys() - set(names):
        ema[name].copy_(now[name])
