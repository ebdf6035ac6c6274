"""Two gloo processes train what one does with the same global batch, whole or in shards."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file

from inkdrop.runs import own_folder
from inkdrop.train.parallel import World, world
from inkdrop.train.run import train
from inkdrop.train.updates import Update

CPU = torch.device("cpu")
SCRIPT = Path(__file__).parents[1] / "support" / "two_processes.py"
LAUNCH = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]


def two(task: str, folder: Path, out: Path, *words: str) -> None:
    command = [*LAUNCH, str(SCRIPT), task, str(folder), str(out), *words]
    done = subprocess.run(command, timeout=240, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, torch.Tensor]:
    """The weights that one process ends with."""
    folder = tmp_path_factory.mktemp("alone")
    command = [sys.executable, SCRIPT, "weights", folder, folder / "one.safetensors", "whole"]
    subprocess.run(command, check=True, timeout=120)
    return load_file(folder / "one.safetensors")


@pytest.mark.parametrize("kind", ["whole", "sharded"])
def test_two_gloo_processes_equal_one(
    tmp_path: Path, alone: dict[str, torch.Tensor], kind: str
) -> None:
    two("weights", tmp_path, tmp_path / "two.safetensors", kind)
    both = load_file(tmp_path / "two.safetensors")
    assert alone.keys() == both.keys()
    for name in alone:
        torch.testing.assert_close(both[name], alone[name], rtol=1e-5, atol=1e-9, msg=name)


def train_alone(data: Path, out: Path, last: int) -> list[int]:
    """Trains in a run folder up to update `last`; the numbers of the updates that were made."""
    stop, made = threading.Event(), list[int]()
    here = World(device=CPU, stop=stop)
    for event in train(tiny.data(data), out, tiny.ask(flip=True), world=here):
        if isinstance(event, Update):
            made.append(event.index)
            if event.index == last:
                stop.set()
    return made


def weights(run: Path) -> dict[str, torch.Tensor]:
    """All that a run's last checkpoint holds: last and averaged weights, and the optimizer."""
    folder = own_folder(run)[0].parent
    return {
        f"{file.relative_to(folder)}:{name}": value.clone()
        for file in folder.rglob("*.safetensors")
        for name, value in load_file(file).items()
    }


def test_a_sharded_run_and_one_process_go_on_from_each_other(tmp_path: Path) -> None:
    assert train_alone(tmp_path, tmp_path / "alone", 7) == list(range(8))
    two("run", tmp_path, tmp_path / "ours", "sharded", "3")
    assert train_alone(tmp_path, tmp_path / "ours", 7) == [4, 5, 6, 7]
    assert train_alone(tmp_path, tmp_path / "theirs", 3) == [0, 1, 2, 3]
    two("run", tmp_path, tmp_path / "theirs", "sharded", "7")
    want = weights(tmp_path / "alone")
    for name in ("ours", "theirs"):
        found = weights(tmp_path / name)
        assert found.keys() == want.keys()
        for key, value in want.items():
            torch.testing.assert_close(found[key], value, rtol=1e-3, atol=1e-4, msg=key)
    assert (tmp_path / "ours" / "samples" / "00000002.png").is_file()
    assert (tmp_path / "theirs" / "samples" / "00000006.png").is_file()


def test_a_process_alone_takes_the_device_and_shards_nothing() -> None:
    network = torch.nn.Linear(2, 2)
    with world(CPU, shard=True) as here:
        assert here.main and not here.sharded and here.rows(6) == range(6)
        assert here.place(network) is network
        assert here.whole_state(network).keys() == {"weight", "bias"}
        assert not here.agree(False) and here.agree(True)
