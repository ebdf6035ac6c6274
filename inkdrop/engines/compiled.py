"""The engine compiled: torch.compile, on a CPU with its weights frozen into what is compiled.

Frozen, weights are constants, so that they are laid out once as each kernel reads them; unfrozen
the compiled network is slower than the plain one there. Every new kind of call is compiled anew.
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
    """A network that is compiled when it is first called with tensors of some sizes."""

    def __init__(self, network: nn.Module, mode: str, *, frozen: bool) -> None:
        super().__init__()
        self.network, self.frozen = network, frozen
        self.run = torch.compile(network, mode=mode)
        self._known = set[object]()
        self._one_at_a_time = Lock()

    def forward(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        """(x [B, C, *spatial], t [B], cond) -> as the network, in x's precision."""
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
        # Settings of the compiler are those of the whole process, so only one compiles with them.
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
        return "there is no C++ compiler, such as g++; install one, or use packed"
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
    "torch.compile; minutes to set up, for each size of picture anew, and weights are held twice",
    ("float32", "bfloat16"),
    _lacks,
    _prepare,
)
