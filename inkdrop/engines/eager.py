"""The engine "eager": plain torch, without preparation."""

from __future__ import annotations

import torch
from torch import nn

from inkdrop.engines.cpu import slow_bfloat16
from inkdrop.engines.engine import Call, Engine, Precision


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _prepare(network: nn.Module, example: Call, precision: Precision) -> nn.Module:
    return network.to(torch.bfloat16) if precision == "bfloat16" else network


EAGER = Engine("plain torch, without set-up", ("float32", "bfloat16"), _lacks, _prepare)
