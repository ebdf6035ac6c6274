"""The cost of a training step: images/s, GFLOP/s per core and memory, compared with both peers.

    python -m benchmarks.training.step [--rounds 5]

The U-Nets have equal width, depth and attention. They take turns on the same pictures, one update
each per round, and a result is the median over the rounds. inkdrop runs `updates`, like its users,
with noise, times and EMA; the peers run their own loss and optimizer with gradient clipping and an
EMA. The ceiling is a large 3x3 convolution alone, forward and backward, in the same rounds. Torch
counts the operations that each network really performs, so doing less work does not raise GFLOP/s.

Memory is the peak of a separate process, minus what it held before the network was built.
"""

from __future__ import annotations

import os

os.environ["OMP_WAIT_POLICY"] = "PASSIVE"  # read once, when torch loads its OpenMP

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import places
from benchmarks.training.clock import THREADS
from benchmarks.training.peers import PEERS
from inkdrop.cond import Cond
from inkdrop.model.folder import build_model
from inkdrop.train.config import TrainConfig
from inkdrop.train.objective import Batch
from inkdrop.train.updates import start, updates

MULTIPLIERS, BLOCKS = (1, 2, 2), 2
RESULTS = places.RESULTS / "training.json"
TRAINEES = ("inkdrop float32", "inkdrop bfloat16", *PEERS)


@dataclass(frozen=True)
class Setting:
    """Pictures [batch, channels, size, size] and the width of level 0."""

    size: int
    channels: int
    batch: int
    width: int


SETTINGS = [
    Setting(size, channels, batch, width)
    for size, channels, batch in ((28, 1, 128), (32, 3, 64))
    for width in (32, 80)
]


@dataclass
class Trainee:
    """A network in training: `update()` makes one optimizer step."""

    network: nn.Module
    update: Callable[[], object]

    @property
    def parameters(self) -> int:
        """Number of its weights."""
        return sum(p.numel() for p in self.network.parameters())


def pictures(setting: Setting) -> tuple[Tensor, Tensor]:
    """Noise in [-1, 1] in the setting's shape; the speed does not depend on the content."""
    rng = torch.Generator().manual_seed(0)
    shape = (setting.batch, setting.channels, setting.size, setting.size)
    return torch.rand(shape, generator=rng) * 2 - 1, torch.arange(setting.batch) % 10


def ours(setting: Setting, precision: str) -> Trainee:
    """inkdrop, trained by its own generator `updates`."""
    x0, label = pictures(setting)
    model = build_model(
        {
            "format_version": 1,
            "process": {"kind": "discrete", "schedule": "cosine", "steps": 1000},
            "parameterization": {"kind": "edm", "sigma_data": 0.5},
            "network": {
                "kind": "unet", "dims": 2, "in_channels": setting.channels,
                "width": setting.width, "multipliers": MULTIPLIERS, "blocks": BLOCKS,
                "norm_groups": 16, "num_classes": 10,
            },
            "codec": {"kind": "identity"},
            "spec": {"shape": tuple(x0.shape[1:]), "labels": tuple("0123456789"),
                     "condition_drop": 0.1, "guidance": 2.0},
        },
        "the model",
    )  # fmt: skip
    config = TrainConfig(updates=10**6, batch=setting.batch, precision=precision)  # type: ignore[arg-type]

    def batches(update: int, rows: range) -> Batch:
        part = slice(rows.start, rows.stop)
        return Batch(x0[part], Cond(label=label[part]))

    steps = updates(model, batches, config, start(model, config))
    return Trainee(model.network, lambda: next(steps))


def theirs(name: str, setting: Setting) -> Trainee:
    """A peer, trained in its usual way: loss, backward, clip, step, EMA."""
    x0, label = pictures(setting)
    shape = {"in_channels": setting.channels, "size": setting.size, "width": setting.width}
    if name == "diffusers":  # the other has a fixed two blocks per level
        shape |= {"blocks": BLOCKS, "attention": -1}
    peer = PEERS[name](**shape, multipliers=MULTIPLIERS)
    weights: list[Tensor] = list(peer.network.parameters())
    mean = [w.detach().clone() for w in weights]
    optimizer = peer.optimizer(1e-3)

    def update() -> None:
        loss = peer.loss(x0, label)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(weights, 1.0)
        optimizer.step()
        with torch.no_grad():
            torch._foreach_lerp_(mean, weights, 0.001)

    return Trainee(peer.network.train(), update)


def build(name: str, setting: Setting) -> Trainee:
    """One of TRAINEES."""
    torch.manual_seed(0)
    library, _, precision = name.partition(" ")
    return ours(setting, precision) if library == "inkdrop" else theirs(name, setting)


def ceiling(dtype: torch.dtype) -> Callable[[], object]:
    """A 3x3 convolution of 256 channels on 8 maps of 32x32, forward and backward."""
    layer = nn.Conv2d(256, 256, 3, padding=1, dtype=dtype)
    x = torch.randn(8, 256, 32, 32, dtype=dtype, requires_grad=True)
    return lambda: layer(x).sum().backward()


def flops(work: Callable[[], object]) -> int:
    """Floating-point operations of one call, from torch's counter: 2 per multiply-add."""
    counter = FlopCounterMode(display=False)
    with counter:
        work()
    return counter.get_total_flops()


def seconds(work: Callable[[], object]) -> float:
    """Wall time of one call."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def peak_memory(name: str, setting: Setting) -> float:
    """Peak MiB during two updates, minus what the process held before; call in a new process."""
    torch.set_num_threads(THREADS)
    before = _status("VmRSS")
    trainee = build(name, setting)
    for _ in range(2):
        trainee.update()
    return (_status("VmHWM") - before) / 1024


def _status(field: str) -> int:
    # not getrusage: there, a process inherits the peak of its parent
    text = Path("/proc/self/status").read_text()
    return int(text.split(f"{field}:")[1].split()[0])


def measure(setting: Setting, rounds: int) -> dict[str, Any]:
    """Measures all trainees of one setting, taking turns."""
    trainees = {name: build(name, setting) for name in TRAINEES}
    works = {name: trainee.update for name, trainee in trainees.items()}
    works |= {f"ceiling {d}": ceiling(getattr(torch, d)) for d in ("float32", "bfloat16")}
    work_flops = {name: flops(work) for name, work in works.items()}
    for work in works.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            taken[name].append(seconds(work))
    rows = {}
    for name in works:
        speed = [work_flops[name] / s / THREADS / 1e9 for s in taken[name]]
        rows[name] = {"gflops_a_core": round(statistics.median(speed), 1)}
    for name, trainee in trainees.items():
        dtype = "bfloat16" if "bfloat16" in name else "float32"
        typical = statistics.median(taken[name])
        top = rows[f"ceiling {dtype}"]["gflops_a_core"]
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            memory = pool.submit(peak_memory, name, setting).result()
        rows[name] |= {
            "parameters": trainee.parameters,
            "gflop_an_image": round(work_flops[name] / setting.batch / 1e9, 3),
            "images_a_second": round(setting.batch / typical, 1),
            "share_of_ceiling": round(rows[name]["gflops_a_core"] / top, 3),
            "peak_mib": round(memory),
        }
    return {"setting": asdict(setting), "rows": rows}


def table(results: list[dict[str, Any]]) -> Iterator[str]:
    """The results as lines of a Markdown table."""
    yield "| pictures | trained | parameters | images/s | GFLOP/s a core | of ceiling | peak MiB |"
    yield "|---|---|---|---|---|---|---|"
    for result in results:
        s = result["setting"]
        shape = f"{s['size']}x{s['size']}x{s['channels']}, batch {s['batch']}"
        for name, row in result["rows"].items():
            if "parameters" not in row:
                yield f"| {shape} | {name} | | | {row['gflops_a_core']} | | |"
                continue
            yield (
                f"| {shape} | {name} | {row['parameters'] / 1e6:.2f} M | {row['images_a_second']}"
                f" | {row['gflops_a_core']} | {row['share_of_ceiling']:.2f} | {row['peak_mib']} |"
            )


def main() -> None:
    """Measures every setting and writes the results and the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--results", type=Path, default=RESULTS)
    args = parser.parse_args()
    torch.set_num_threads(THREADS)
    results = []
    for setting in SETTINGS:
        results.append(measure(setting, args.rounds))
        args.results.parent.mkdir(parents=True, exist_ok=True)
        args.results.write_text(json.dumps(results, indent=2) + "\n")
    print("\n".join(table(results)))


if __name__ == "__main__":
    main()
