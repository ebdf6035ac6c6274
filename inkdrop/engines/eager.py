"""The engine eager: torch as it is, without any preparation."""

from __future__ import annotations

import torch
from torch import nn

from inkdrop.engines.engine import Call, Engine, Precision


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    return None


def _prepare(network: nn.Module, example: Call, precision: Precision) -> nn.Module:
    return network


EAGER = Engine("torch as it is; nothing to set up", ("float32",), _lacks, _prepare)
