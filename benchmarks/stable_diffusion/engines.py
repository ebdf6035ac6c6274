"""SD 1.5's U-Net with each engine, and eager diffusers: the same weights, run alternately."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.files.fill import filled
from inkdrop.convert.sd.read import read
from inkdrop.engines import ENGINES, Call
from inkdrop.networks.unet import UNet


def ours(folder: Path) -> UNet:
    """The U-Net in a folder, copied into its own memory."""
    found = read(folder / "unet").unet
    assert found is not None
    network, _ = filled(lambda: UNet(found.config), found, "unet", str(folder), torch.float32)
    for weight in network.parameters():
        weight.data = weight.data.clone()
    return network


@torch.no_grad()
def measured(folder: Path, ways: list[str], batch: int, size: int, rounds: int) -> Iterator[str]:
    """Lines with seconds per call, speedup over diffusers, error, and setup time in seconds."""
    import diffusers

    theirs = diffusers.UNet2DConditionModel.from_pretrained(folder / "unet").eval()
    torch.manual_seed(1)
    x, t, tokens = torch.randn(batch, 4, size, size), torch.full((batch,), 501.0), None
    tokens = torch.randn(batch, 77, 768)
    call = Call(x, t, Cond(tokens=tokens))
    calls: dict[str, Callable[[], Tensor]] = {"diffusers": lambda: theirs(x, t, tokens).sample}
    setup = {"diffusers": 0.0}
    for way in ways:
        engine, _, precision = way.partition(":")
        began = time.perf_counter()
        network: Any = ENGINES[engine].prepare(ours(folder), call, precision or "float32")
        network(*call)
        setup[way] = time.perf_counter() - began
        calls[way] = lambda network=network: network(*call)
    wanted = calls["diffusers"]()
    errors = {name: float((make() - wanted).norm() / wanted.norm()) for name, make in calls.items()}
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, make in calls.items():
            began = time.perf_counter()
            make()
            seconds[name].append(time.perf_counter() - began)
    base = statistics.median(seconds["diffusers"])
    for name, values in seconds.items():
        median = statistics.median(values)
        yield (
            f"{batch}x{size}x{size} {name}: {median:.2f} s, {base / median:.2f} times as fast,"
            f" error {errors[name]:.1e}, set up in {setup[name]:.0f} s"
        )
