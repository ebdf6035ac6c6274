"""The device on which things are computed."""

from __future__ import annotations

import os
from collections.abc import Mapping

import torch

# Which process of its machine this one is, by whatever has started it.
LOCAL_RANKS = ("LOCAL_RANK", "SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")


def pick_device(name: str | None = None) -> torch.device:
    """The device called `name`, or a GPU if there is one, else the CPU.

    Of several processes that torchrun started on a machine, each gets a GPU of its own.
    """
    name = name or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise _unusable(name) from None
    device = placed(device, os.environ, torch.cuda.device_count())
    try:
        torch.zeros(1, device=device).item()  # which a device without values, such as meta, cannot
    except (RuntimeError, AssertionError):
        raise _unusable(name) from None
    return device


def placed(device: torch.device, environment: Mapping[str, str], count: int) -> torch.device:
    """The device of one process among those that were started together.

    device: what was asked for; environment: the process's variables, WORLD_SIZE and the like;
    count: the GPUs that the process sees. ValueError if several processes would share a GPU.
    """
    if device.type != "cuda" or int(environment.get("WORLD_SIZE", "1")) == 1 or count == 0:
        return device
    together = int(environment.get("LOCAL_WORLD_SIZE", "1"))
    if device.index is not None:
        if together == 1:
            return device
        raise ValueError(
            f"the device {str(device)!r} would be shared by the {together} processes of this"
            " machine; ask for 'cuda', and each gets its own"
        )
    ranks = [int(environment[name]) for name in LOCAL_RANKS if name in environment]
    if not ranks:
        raise ValueError(
            "the variable LOCAL_RANK, which says which GPU is this process's, is not set; start the"
            " processes with torchrun, or name a --device"
        )
    if count == 1 and "TORCHELASTIC_RUN_ID" not in environment:
        return torch.device("cuda", 0)  # other launchers show each process its own GPU alone
    if ranks[0] >= count:
        raise ValueError(
            f"this machine has {count} GPU{'s' * (count > 1)}, which are too few for its processes;"
            f" start torchrun with --nproc-per-node {count}, or use --device cpu"
        )
    return torch.device("cuda", ranks[0])


def _unusable(name: str) -> ValueError:
    return ValueError(f"the device {name!r} cannot be used here; leave --device out")
