"""The capabilities of this machine's processor."""

from __future__ import annotations

from functools import cache

import torch


@cache
def fast_bfloat16() -> bool:
    """Whether the CPU has bfloat16 instructions (AMX or AVX-512 BF16).

    Without them bfloat16 is emulated, 5 to 70 times slower than float32.
    """
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in known)


@cache
def fast_int8() -> bool:
    """Whether the CPU has int8 dot products with 32-bit accumulation (VNNI)."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


def slow_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is rejected on a device, as a clause with the way out; None if it is not."""
    if device.type != "cpu" or fast_bfloat16():
        return None
    return (
        "this processor has no bfloat16 instructions, without which bfloat16 is 5 to 70 times"
        " slower than float32; use float32"
    )
