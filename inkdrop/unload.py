"""The memory of networks given back, although something still knows them."""

from __future__ import annotations

import ctypes
import gc
import sys
from typing import Any, NoReturn

import torch
from torch import nn


class Unloaded(nn.Module):
    """What a network is once its memory is given back: it says so to whoever uses it."""

    def forward(self, *told: Any) -> NoReturn:
        """ValueError."""
        raise _gone()

    def __getattr__(self, name: str) -> NoReturn:
        raise _gone()


def _gone() -> ValueError:
    return ValueError("this model was unloaded, so its weights are gone; load it again")


def unload(*networks: nn.Module) -> None:
    """Gives the memory of networks back to the system; none of them can be used any more.

    Weights that another network shares stay, for that one.
    """
    for network in networks:
        config = vars(network).get("config")
        vars(network).clear()
        nn.Module.__init__(network)
        vars(network)["config"] = config
        network.__class__ = Unloaded
    gc.collect()
    _trim()


def _trim() -> None:
    """What the allocators keep for later is given back too."""
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):  # glibc
        libc.malloc_trim(0)
