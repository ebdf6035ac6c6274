"""One process or torchrun: who computes which rows of a batch, and who writes."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn


@dataclass(frozen=True)
class World:
    """This process's place among all."""

    rank: int = 0
    size: int = 1

    @property
    def main(self) -> bool:
        """True for the one process that writes and talks."""
        return self.rank == 0

    def rows(self, batch: int) -> range:
        """The rows of a global batch that this process computes."""
        if batch % self.size:
            raise ValueError(f"batch is {batch}: it does not divide among {self.size} processes")
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def wrap(self, network: nn.Module) -> nn.Module:
        """The network with its gradients averaged over all processes."""
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, gradient_as_bucket_view=True)

    def agree(self, flag: bool) -> bool:
        """True in every process if it is true in any."""
        if self.size == 1:
            return flag
        votes = torch.tensor(
            [float(flag)], device="cuda" if dist.get_backend() == "nccl" else "cpu"
        )
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return bool(votes.item())

    def wait(self) -> None:
        """Returns when every process has come here."""
        if self.size > 1:
            dist.barrier()


@contextmanager
def world() -> Iterator[World]:
    """The World that torchrun's environment describes; one process without it."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World()
        return
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    try:
        yield World(dist.get_rank(), size)
    finally:
        dist.destroy_process_group()
