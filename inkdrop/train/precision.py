"""The precision in which a network is trained."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

from inkdrop.train.config import TrainConfig


def bfloat16_pays(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware, and therefore faster than float32."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    if device.type == "cpu":
        flags = torch.cpu.get_capabilities()
        return any(bool(flags.get(name)) for name in ("avx512_bf16", "amx_bf16"))
    return False


def autocast(config: TrainConfig, device: torch.device) -> AbstractContextManager[object]:
    """The context in which the network runs at the config's precision."""
    low = config.precision == "bfloat16" or (config.precision == "auto" and bfloat16_pays(device))
    return torch.autocast(device.type, dtype=torch.bfloat16) if low else nullcontext()
