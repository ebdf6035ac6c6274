"""What the processor here can do."""

from __future__ import annotations

from functools import cache

import torch


@cache
def fast_bfloat16() -> bool:
    """True where bfloat16 is multiplied by instructions of its own (AMX or AVX-512's).

    Elsewhere it is emulated, 5 to 70 times slower than float32.
    """
    known = ("_is_amx_tile_supported", "_is_avx512_bf16_supported")
    return any(bool(getattr(torch.cpu, name, bool)()) for name in known)


@cache
def fast_int8() -> bool:
    """True where products of int8 are summed in 32 bits by one instruction."""
    return bool(getattr(torch.cpu, "_is_vnni_supported", bool)())


def slow_bfloat16(device: torch.device) -> str | None:
    """Why bfloat16 is refused on a device, as half a sentence; None if it is not."""
    if device.type != "cpu" or fast_bfloat16():
        return None
    return (
        "this processor has no instructions for bfloat16, and without them it is 5 to 70 times"
        " slower than float32; use float32"
    )
