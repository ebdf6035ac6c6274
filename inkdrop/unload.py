"""Free the memory of networks even if references to them remain."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, NoReturn

import torch
from torch import nn


class Unloaded(nn.Module):
    """A network after its memory was freed; any use is a ValueError."""

    def forward(self, *told: Any) -> NoReturn:
        """Always a ValueError."""
        raise _gone()

    def __getattr__(self, name: str) -> NoReturn:
        raise _gone()


def _gone() -> ValueError:
    return ValueError("this model was unloaded, so its weights are gone; load it again")


def unload(*networks: nn.Module) -> None:
    """Return the memory of networks to the system; using them afterwards is a ValueError.

    Weights shared with another network stay alive for that one.
    """
    for network in networks:
        # The configuration stays readable; it holds no weights.
        config = vars(network).get("config")
        vars(network).clear()
        nn.Module.__init__(network)
        vars(network)["config"] = config
        network.__class__ = Unloaded
    gc.collect()
    _trim()


def _trim() -> None:
    """Also return the free memory that the allocators cache."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc
        libc.malloc_trim(0)
