"""The engine "compiled": torch.compile, with frozen weights on a CPU.

Frozen weights are constants, so they are stored once in the layout that each kernel reads; on a CPU
an unfrozen compiled network is slower than eager. Every new combination of shapes is compiled
separately.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from threading import Lock
from typing import Any, cast

import torch
from torch import Tensor, nn

from inkdrop.cond import Cond
from inkdrop.engines.cpu import slow_bfloat16
from inkdrop.engines.engine import Call, Engine, Precision, refuse_gradient


class Compiled(nn.Module):
    """A network that is compiled at the first call for each combination of shapes."""

    def __init__(self, network: nn.Module, mode: str, *, frozen: bool) -> None:
        super().__init__()
        self.network, self.frozen = network, frozen
        self.run = torch.compile(network, mode=mode)
        self._known = set[object]()
        self._one_at_a_time = Lock()

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> [B, C', *spatial]; ValueError if grad is needed."""
        told = [value for value in vars(cond).values() if value is not None]
        refuse_gradient("compiled", x, t, *told)
        return self._ungraded(x, t, cond)

    @torch.no_grad()
    def _ungraded(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        dtype = next(self.network.parameters()).dtype
        told = (None if value is None else value.shape for value in vars(cond).values())
        kind = (x.shape, *told)
        if kind in self._known:
            return self._called(x.to(dtype), t, cond)
        # The compiler's settings are global to the process, so one thread compiles at a time.
        with self._one_at_a_time, self._settings():
            y = self._called(x.to(dtype), t, cond)
        self._known.add(kind)
        return y

    def _called(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        y: Tensor = self.run(x, t, cond)
        return y

    def _settings(self) -> AbstractContextManager[object]:
        from torch._inductor import config

        return config.patch(freezing=True) if self.frozen else nullcontext()


def _lacks(network: nn.Module, device: torch.device, precision: Precision) -> str | None:
    if device.type == "cpu" and not _compiler():
        return "it needs a C++ compiler, such as g++; install one, or use packed"
    return slow_bfloat16(device) if precision == "bfloat16" else None


def _compiler() -> bool:
    from torch._inductor.cpp_builder import get_cpp_compiler
    from torch._inductor.exc import InvalidCxxCompiler

    try:
        return bool(get_cpp_compiler())
    except InvalidCxxCompiler:
        return False


def _prepare(network: nn.Module, example: Call, precision: Precision) -> nn.Module:
    network = network.requires_grad_(False)
    if precision == "bfloat16":
        network = network.to(torch.bfloat16)
    if example.x.device.type == "cpu":
        return Compiled(network, "default", frozen=True)
    last = torch.channels_last if example.x.ndim == 4 else torch.contiguous_format
    return Compiled(
        cast(Any, network).to(memory_format=last), "max-autotune-no-cudagraphs", frozen=False
    )


COMPILED = Engine(
    "torch.compile; minutes of set-up for each picture size, and twice the memory for weights",
    ("float32", "bfloat16"),
    _lacks,
    _prepare,
)
