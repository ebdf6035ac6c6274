"""One resumable, timed training run of a peer, with snapshots of its averaged weights."""

from __future__ import annotations

import copy
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks import fashion_mnist
from benchmarks.training.clock import Clock
from benchmarks.training.peers import PEERS, Peer, crop, ddim, pad

BATCH = 128


@dataclass(frozen=True)
class Plan:
    """One training run: peer, learning rate, duration, and times of snapshots (in minutes)."""

    peer: str
    rate: float
    minutes: float
    snapshots: Sequence[float]
    seed: int = 0


class Run:
    """A peer in training; everything needed to resume is in `state`."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        torch.manual_seed(plan.seed)
        kind = PEERS[plan.peer]
        self.plan, self.folder, self.clock, self.step = plan, folder, Clock(), 0
        self.peer: Peer = kind(in_channels=1, size=32, width=kind.width)
        self.network = self.peer.network.train()
        self.ema = copy.deepcopy(self.network).requires_grad_(False).eval()
        self.optimizer = self.peer.optimizer(plan.rate)
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "run.pt").exists():
            self._resume(torch.load(folder / "run.pt"))

    def save(self) -> None:
        """Writes the checkpoint beside the old one, and then replaces that."""
        state = {
            "network": self.network.state_dict(),
            "ema": self.ema.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "clock": (self.clock.cpu, self.clock.wall),
        }
        torch.save(state, self.folder / "run.pt.new")
        (self.folder / "run.pt.new").replace(self.folder / "run.pt")

    def _resume(self, state: dict[str, Any]) -> None:
        self.network.load_state_dict(state["network"])
        self.ema.load_state_dict(state["ema"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]
        self.clock.cpu, self.clock.wall = state["clock"]

    def snapshot(self, minutes: float) -> None:
        """Saves the current averaged weights, named by the planned minutes."""
        kept = {
            "ema": self.ema.state_dict(),
            "minutes": self.clock.minutes,
            "wall_minutes": self.clock.wall / 60,
            "step": self.step,
        }
        torch.save(kept, self.folder / "snapshot.new")
        (self.folder / "snapshot.new").replace(self.folder / f"{minutes:g}.pt")

    def rate(self) -> float:
        """The learning rate: a warmup of 50 updates, then a cosine decay over the run's minutes."""
        share = min(1.0, self.clock.minutes / self.plan.minutes)
        warm = min(1.0, (self.step + 1) / 50)
        return self.plan.rate * warm * 0.5 * (1 + math.cos(math.pi * share))

    def update(self, x0: Tensor, label: Tensor) -> float:
        """Updates the weights and their average; returns the loss."""
        torch.manual_seed(self.plan.seed + 1000 * (self.step + 1))
        for group in self.optimizer.param_groups:
            group["lr"] = self.rate()
        loss = self.peer.loss(x0, label)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)
        self.optimizer.step()
        self.step += 1
        self._average()
        return loss.item()

    @torch.no_grad()
    def _average(self) -> None:
        # the EMA warmup of diffusers, 1 - (1 + n)^-3/4, for both peers: at these lengths the EMA
        # averages over the last 5 % to 20 % of the run
        weight = (1 + self.step) ** -0.75
        torch._foreach_lerp_(list(self.ema.parameters()), list(self.network.parameters()), weight)


def batches(n: int, seed: int, start: int) -> Iterator[Tensor]:
    """Indices [BATCH] from update `start` on, in shuffled epochs without partial batches."""
    per_epoch = n // BATCH
    epoch = start // per_epoch
    while True:
        order = torch.randperm(n, generator=torch.Generator().manual_seed(1000 * seed + epoch))
        yield from order[: per_epoch * BATCH].view(-1, BATCH)[start % per_epoch :]
        epoch, start = epoch + 1, 0


def train(plan: Plan, folder: Path, data: Path) -> Run:
    """Trains to the end of the plan, from where the last call stopped."""
    run = Run(plan, folder)
    x, y = fashion_mnist.load("train", data)
    saved, left = time.time(), [m for m in plan.snapshots if m * 60 > run.clock.cpu]
    for index in batches(len(x), plan.seed, run.step):
        if run.clock.minutes >= plan.minutes:
            break
        with run.clock:
            loss = run.update(pad(x[index]), y[index])
        while left and run.clock.minutes >= left[0]:
            run.snapshot(left.pop(0))
        if time.time() - saved > 120:
            run.save()
            saved = time.time()
            print(_line(run, loss), flush=True)
    run.save()
    return run


def _line(run: Run, loss: float) -> str:
    clock, plan = run.clock, run.plan
    minutes = f"{clock.minutes:.2f} min, wall {clock.wall / 60:.2f}"
    return f"{plan.peer} {plan.rate:g}: {minutes}, update {run.step}, loss {loss:.4f}"


@torch.no_grad()
def held_out(run: Run, data: Path) -> float:
    """The peer's own loss with averaged weights, on 1,000 test pictures and fixed noise."""
    x, y = fashion_mnist.load("test", data)
    torch.manual_seed(12345)
    with averaged(run):
        losses = [run.peer.loss(pad(x[i : i + 200]), y[i : i + 200]) for i in range(0, 1000, 200)]
    return float(torch.stack(losses).mean())


@contextmanager
def averaged(run: Run, weights: dict[str, Tensor] | None = None) -> Iterator[None]:
    """Temporarily loads the averaged weights, or the given ones, into the run's network."""
    kept = copy.deepcopy(run.network.state_dict())
    run.network.load_state_dict(weights or run.ema.state_dict())
    run.network.eval()
    try:
        yield
    finally:
        run.network.load_state_dict(kept)
        run.network.train()


def sample(peer: Peer, n: int, kind: str) -> tuple[Tensor, Tensor]:
    """Pictures [n, 1, 28, 28] by DDIM-50 from fixed noise, and their balanced requested labels."""
    rng = torch.Generator().manual_seed(777)
    noise, label = torch.randn(n, 1, 32, 32, generator=rng), torch.arange(n) % 10
    parts = zip(noise.split(100), label.split(100), strict=True)
    return crop(torch.cat([ddim(peer, z, c, kind=kind) for z, c in parts])), label
