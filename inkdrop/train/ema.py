"""The exponential moving average of weights, which samples better than the last weights do."""

from __future__ import annotations

import torch
from torch import Tensor, nn


def decay_at(decay: float, update: int) -> float:
    """The decay after update number `update`: short at first, so that early noise is forgotten."""
    return min(decay, (1 + update) / (10 + update))


def snapshot(network: nn.Module) -> dict[str, Tensor]:
    """A copy of every weight and buffer by name, floating ones in at least float32."""
    return {name: _wide(value.detach().clone()) for name, value in network.state_dict().items()}


def _wide(value: Tensor) -> Tensor:
    return value.float() if value.is_floating_point() and value.dtype.itemsize < 4 else value


@torch.no_grad()
def average(ema: dict[str, Tensor], network: nn.Module, decay: float) -> None:
    """ema <- decay ema + (1 - decay) weights, in place."""
    now = network.state_dict()
    names = [name for name, value in ema.items() if value.is_floating_point()]
    torch._foreach_lerp_([ema[n] for n in names], [now[n] for n in names], 1 - decay)
    for name in ema.keys() - set(names):
        ema[name].copy_(now[name])
