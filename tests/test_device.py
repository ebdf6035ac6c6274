"""Processes that are started together get a GPU each, by what their launcher says."""

from __future__ import annotations

import pytest
import torch

from inkdrop.device import pick_device, placed

CUDA = torch.device("cuda")
TORCHRUN = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "TORCHELASTIC_RUN_ID": "x"}


def test_every_process_of_torchrun_gets_its_own_gpu() -> None:
    places = [placed(CUDA, {**TORCHRUN, "LOCAL_RANK": str(rank)}, 4) for rank in range(4)]
    assert places == [torch.device("cuda", rank) for rank in range(4)]


def test_one_process_and_the_cpu_stay_where_they_are() -> None:
    assert placed(CUDA, {}, 4) == CUDA
    assert placed(torch.device("cuda:2"), {"WORLD_SIZE": "1", "LOCAL_RANK": "0"}, 4).index == 2
    cpu = torch.device("cpu")
    assert placed(cpu, {**TORCHRUN, "LOCAL_RANK": "3"}, 0) == cpu
    assert placed(torch.device("cuda:1"), {"WORLD_SIZE": "2", "LOCAL_RANK": "0"}, 2).index == 1


@pytest.mark.parametrize("name", ["SLURM_LOCALID", "OMPI_COMM_WORLD_LOCAL_RANK"])
def test_other_launchers_number_their_processes_too(name: str) -> None:
    assert placed(CUDA, {"WORLD_SIZE": "8", name: "1"}, 2) == torch.device("cuda", 1)
    alone = {"WORLD_SIZE": "8", name: "1"}  # each process sees one GPU, its own
    assert placed(CUDA, alone, 1) == torch.device("cuda", 0)


def test_a_shared_gpu_is_refused() -> None:
    with pytest.raises(ValueError, match=r"this machine has 2 GPUs.*--nproc-per-node 2"):
        placed(CUDA, {**TORCHRUN, "LOCAL_RANK": "2"}, 2)
    with pytest.raises(ValueError, match=r"'cuda:0' would be shared by the 4 processes"):
        placed(torch.device("cuda:0"), {**TORCHRUN, "LOCAL_RANK": "1"}, 4)
    with pytest.raises(ValueError, match=r"LOCAL_RANK.*is not set"):
        placed(CUDA, {"WORLD_SIZE": "2"}, 2)


def test_what_is_no_device_is_refused_by_name() -> None:
    for name in ("nonsense", "meta"):
        with pytest.raises(ValueError, match=f"the device '{name}' cannot be used here"):
            pick_device(name)
