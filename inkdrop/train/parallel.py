"""One process or several under torchrun: devices, which process computes which rows, who writes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import torch
import torch.distributed as dist
from torch import Tensor, nn

from inkdrop.device import pick_device, placed
from inkdrop.train.watch import Watch

# How long a process waits for the others. The main process alone encodes the data, draws previews
# and writes gigabytes while the rest wait. Such a long timeout does no harm: one that is lost or
# hangs is found by `watch.py`.
PATIENCE = timedelta(hours=12)


@dataclass(frozen=True)
class World:
    """This process among all that train together, and the device it computes on.

    rank: its number, from 0 to size - 1
    stop: setting this event ends the training after the current update, with a checkpoint
    shard: split weights, their average and the optimizer state among the processes
        (FSDP2; Zhao et al. 2023), instead of a full copy in each
    busy: held while a checkpoint is written
    """

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=pick_device)
    stop: threading.Event = field(default_factory=threading.Event)
    shard: bool = False
    busy: threading.Lock = field(default_factory=threading.Lock)

    @property
    def main(self) -> bool:
        """True for the one process that writes files and reports."""
        return self.rank == 0

    @property
    def computed(self) -> dict[str, Any]:
        """How this training is computed, as far as rounding depends on it."""
        return {
            "threads": torch.get_num_threads(),
            "processes": self.size,
            "device": self.device.type,
            "torch": torch.__version__,
        }

    @property
    def sharded(self) -> bool:
        """True if this process holds only a part of the weights."""
        return self.shard and self.size > 1

    def rows(self, batch: int) -> range:
        """The rows of a global batch that this process computes."""
        if batch % self.size:
            raise ValueError(f"batch is {batch}: it does not divide among {self.size} processes")
        share = batch // self.size
        return range(self.rank * share, (self.rank + 1) * share)

    def place(self, network: nn.Module) -> nn.Module:
        """The network on its device, set up to average gradients over all processes.

        Sharding changes the network in place and replaces its parameters, so create the optimizer
        afterwards.
        """
        if self.sharded:
            return _sharded(network, self.device, self.size)
        network = network.to(self.device)
        if self.size == 1:
            return network
        return nn.parallel.DistributedDataParallel(network, gradient_as_bucket_view=True)

    def averaging(self, network: nn.Module, last: bool) -> AbstractContextManager[object]:
        """The context for one part of a split batch; gradients are averaged after the last part."""
        if self.size == 1:
            return nullcontext()
        if self.sharded:
            cast(Any, network).set_requires_gradient_sync(last)
            return nullcontext()
        return nullcontext() if last else cast(Any, network).no_sync()

    def whole(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The tensors, unsharded; if they are sharded, every process must call this.

        In sharded training only the main process gets them, on the CPU, and the others get an
        empty dict. A device thus holds one full tensor at a time.
        """
        if not self.sharded:
            return dict(tensors)
        found = {}
        for name, value in tensors.items():
            joined = _joined(value)
            if self.main:
                found[name] = joined.cpu()
        return found

    def whole_state(self, network: nn.Module) -> dict[str, Tensor]:
        """The state dict of a placed network, with the names of the bare one; see `whole`."""
        return self.whole(bare(network).state_dict())

    def agree(self, flag: bool) -> bool:
        """True in every process if it is true in any."""
        return bool(self.most(float(flag)))

    def most(self, value: float) -> float:
        """The largest of all processes' values, in every process."""
        if self.size == 1:
            return value
        votes = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(votes, op=dist.ReduceOp.MAX)
        return float(votes.item())

    def mean(self, value: float) -> float:
        """The mean of a number over all processes, each with as many rows as the others."""
        if self.size == 1:
            return value
        total = torch.tensor([value], dtype=torch.float64, device=self.device)
        dist.all_reduce(total)
        return float(total.item()) / self.size

    def joined(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """The names of all processes, in the order of the processes."""
        if self.size == 1:
            return names
        parts: list[Any] = [None] * self.size
        dist.all_gather_object(parts, names)
        return tuple(name for part in parts for name in part)

    def wait(self) -> None:
        """Waits until every process has reached this call."""
        if self.size > 1:
            dist.barrier()


def bare(network: nn.Module) -> nn.Module:
    """The network itself, without the wrappers of `World.place` and torch.compile."""
    network = getattr(network, "_orig_mod", network)
    if isinstance(network, nn.parallel.DistributedDataParallel):
        return cast(nn.Module, network.module)
    return network


def cut(value: Tensor, target: Tensor) -> Tensor:
    """A copy of a full tensor, on the device of `target` and sharded the same way."""
    value = value.to(target.device, copy=True)
    if not hasattr(target, "device_mesh"):
        return value
    from torch.distributed.tensor import DTensor, distribute_tensor  # takes a second to import

    assert isinstance(target, DTensor)
    # Every process has read the full value from disk, so none has to send it.
    return distribute_tensor(value, target.device_mesh, target.placements, src_data_rank=None)


def number(value: Tensor) -> float:
    """The value of a scalar tensor, sharded or not; if sharded, every process must call this."""
    return float(_joined(value).item())


def _joined(value: Tensor) -> Tensor:
    # Sharded tensors are DTensors. No isinstance check: importing their module takes a second.
    join = getattr(value, "full_tensor", None)
    return value if join is None else cast(Tensor, join())


def _sharded(network: nn.Module, device: torch.device, size: int) -> nn.Module:
    """The network with every block sharded; a block is gathered only while it is computed."""
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    mesh = init_device_mesh(device.type, (size,))
    for block in _blocks(network):
        fully_shard(block, mesh=mesh)
    fully_shard(network, mesh=mesh)
    return network


def _blocks(module: nn.Module) -> Iterator[nn.Module]:
    """The outermost modules in ModuleLists that define `forward`, such as a U-Net's stages."""
    for child in module.children():
        listed = isinstance(module, nn.ModuleList)
        if listed and type(child).forward is not nn.Module.forward:
            yield child
        else:
            yield from _blocks(child)


@contextmanager
def world(
    device: torch.device | None = None, stop: threading.Event | None = None, shard: bool = False
) -> Iterator[World]:
    """The World described by torchrun's environment variables; a single process without them.

    device: by default a GPU if there is one; under torchrun, "cuda" means this process's own GPU
    """
    device, stop = device or pick_device(), stop or threading.Event()
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        yield World(device=device, stop=stop, shard=shard)
        return
    if device.type == "cuda":
        if device.index is None:
            device = placed(device, os.environ, torch.cuda.device_count())
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=PATIENCE)
    here = World(dist.get_rank(), size, device, stop, shard)
    try:
        with Watch(here.rank, size, here.busy) as watch:
            try:
                yield here
                watch.finish()
                here.wait()  # no process may close its connections while another still uses them
            except RuntimeError as error:
                if not _broken(error):
                    raise
                raise ConnectionError(watch.blame(error)) from None
    finally:
        dist.destroy_process_group()


def _broken(error: RuntimeError) -> bool:
    """Whether an error comes from the connection to another process."""
    return isinstance(error, dist.DistError) or "gloo" in str(error) or "NCCL" in str(error)
