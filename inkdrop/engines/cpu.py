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
