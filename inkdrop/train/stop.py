"""Leaving work that changes nothing, such as a preview, as soon as a stop is asked for."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook


class Stopped(Exception):
    """Work was left before its end, because a stop was asked for."""


@contextmanager
def leaving(stop: threading.Event) -> Iterator[None]:
    """Within this context this thread's next call of a layer raises `Stopped` once `stop` is set.

    A preview or a validation takes minutes where a cluster gives half a minute before it kills. It
    passes through other people's loops (samplers, codecs), but all of them call layers.
    """
    here = threading.get_ident()

    def check(layer: nn.Module, inputs: object) -> None:
        if stop.is_set() and threading.get_ident() == here:
            raise Stopped

    handle = register_module_forward_pre_hook(check)
    try:
        yield
    finally:
        handle.remove()
