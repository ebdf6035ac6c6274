"""Digests: what data and weights are known by, wherever they lie."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

import numpy as np
from torch import Tensor


def digest(parts: Iterable[object]) -> str:
    """sha256 over the parts, each with its length or its shape, so that none runs into the next."""
    total = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            total.update(f"{part.dtype.str}{part.shape}".encode())
            for start in range(0, len(part), 4096):  # a mapped array may be larger than memory
                total.update(np.ascontiguousarray(part[start : start + 4096]).data)
        else:
            text = str(part).encode()
            total.update(f"{len(text)}:".encode() + text)
    return total.hexdigest()


def digest_of_weights(weights: Mapping[str, Tensor]) -> str:
    """sha256 of a network's weights."""
    values = {name: value.detach().cpu().flatten().numpy() for name, value in weights.items()}
    return digest(part for name in sorted(values) for part in (name, values[name]))
