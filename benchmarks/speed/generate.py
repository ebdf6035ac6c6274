"""From the shell to the PNG: the bundled model, including process start.

    python -m benchmarks.speed.generate [--cold]

Measures seconds and peak memory of whole processes, alternating `inkdrop generate` and
`python -c "import torch"`. Then, within one process, it measures the time per step and the
network's share of it. --cold drops the file cache before each process, which requires root.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from torch import nn

PROMPT = "a red heart"
CACHES = Path("/proc/sys/vm/drop_caches")


def run(command: list[str], cold: bool) -> tuple[float, float]:
    """Wall time in seconds and peak memory in MiB of a process."""
    if cold:
        os.sync()
        CACHES.write_text("3")
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return time.perf_counter() - began, used.ru_maxrss / 1024


def processes(rounds: int, cold: bool) -> None:
    """Prints the medians of whole processes."""
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "picture.png")
        program = [sys.executable, "-m", "inkdrop", "generate", PROMPT, "-o", out]
        commands = {
            "import torch": [sys.executable, "-c", "import torch"],
            "one picture": program,
            "a grid of nine": [*program, "--count", "9"],
        }
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
        for _ in range(rounds):
            for name, command in commands.items():
                found[name].append(run(command, cold))
    for name, values in found.items():
        seconds, memory = zip(*values, strict=True)
        print(
            f"{name}: {statistics.median(seconds):.2f} s ({min(seconds):.2f} to"
            f" {max(seconds):.2f}), {max(memory):.0f} MiB"
        )


class Timed(nn.Module):
    """A network that measures the time spent in it."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.config, self.seconds = network, network.config, 0.0

    def forward(self, *told: Any) -> Any:
        """Calls the network and adds up its time."""
        began = time.perf_counter()
        out = self.network(*told)
        self.seconds += time.perf_counter() - began
        return out


def steps(rounds: int) -> None:
    """Prints the time per step and the network's share of it."""
    from inkdrop.box import FOLDER
    from inkdrop.model import Model, Prompt
    from inkdrop.tasks.generate import generate

    model = Model.load(FOLDER / "emoji")
    timed = Timed(model.network)
    model = dataclasses.replace(model, network=timed)
    each, shares = [], []
    for _ in range(rounds):
        timed.seconds, began, count = 0.0, time.perf_counter(), 0
        for _ in generate(model, samples=range(1), conditions=[Prompt(PROMPT)]):
            count += 1
        whole = time.perf_counter() - began
        each.append(whole / count)
        shares.append(timed.seconds / whole)
    print(
        f"a step, two calls as one batch: {1000 * statistics.median(each):.1f} ms, of which"
        f" {100 * statistics.median(shares):.0f} % is the network"
    )


def main() -> None:
    """Runs both measurements."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--cold", action="store_true")
    asked = parser.parse_args()
    processes(asked.rounds, asked.cold)
    steps(asked.rounds)


if __name__ == "__main__":
    main()
