"""Weights that stay in their file: what is resident, what is given back, and that nothing leaks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
import torch
from resident import resident
from safetensors.torch import load_file, save_file

from inkdrop.mapped import Mapped
from inkdrop.weights import load_weights, map_weights, read_weights, save_weights

linux = pytest.mark.skipif(sys.platform != "linux", reason="memory is read from /proc")
SIDE, SIZE = 7000, 187  # of a layer, and its MiB in float32


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of one large layer and a small one."""
    path = tmp_path_factory.mktemp("large") / "network.safetensors"
    save_file({"0.weight": torch.ones(SIDE, SIDE), "1.weight": torch.ones(8, 8)}, path)
    return path


MAKE = """
from pathlib import Path
from torch import nn
from inkdrop.weights import map_weights
with torch.device("meta"):
    network = nn.Sequential(nn.Linear({side}, {side}, bias=False), nn.Linear(8, 8, bias=False))
note("before")
network = map_weights(network, Path({path!r}), {dtype})
note("mapped")
"""


@linux
def test_weights_take_no_memory_before_they_are_used_and_none_once_they_are_dropped(
    large: Path,
) -> None:
    program = MAKE.format(side=SIDE, path=str(large), dtype="torch.float32") + (
        "network[0](torch.ones(1, 7000))\nnote('used')\ndel network[0]\nnote('dropped')"
    )
    said = resident(program)
    assert said["mapped"]["VmRSS"] - said["before"]["VmRSS"] < 0.1 * SIZE
    assert said["used"]["RssFile"] - said["before"]["RssFile"] > 0.9 * SIZE
    assert said["used"]["RssAnon"] - said["before"]["RssAnon"] < 0.1 * SIZE
    # The file is still mapped, for the other layer.
    assert said["dropped"]["VmRSS"] - said["before"]["VmRSS"] < 0.1 * SIZE


@linux
def test_another_type_is_made_a_weight_at_a_time(large: Path) -> None:
    said = resident(MAKE.format(side=SIDE, path=str(large), dtype="torch.float16"))
    assert said["mapped"]["VmRSS"] - said["before"]["VmRSS"] < 0.6 * SIZE


def test_what_is_changed_in_place_never_reaches_the_file(tmp_path: Path) -> None:
    path, network = tmp_path / "a.safetensors", torch.nn.Linear(64, 64)
    save_weights(network, path)
    before, kept = path.read_bytes(), network.weight.detach().clone()
    mapped = map_weights(torch.nn.Linear(64, 64), path, torch.float32)
    mapped.requires_grad_(True)
    mapped(torch.ones(3, 64)).sum().backward()
    torch.optim.SGD(mapped.parameters(), lr=1.0).step()
    assert not torch.equal(mapped.weight, kept)
    assert path.read_bytes() == before
    assert torch.equal(map_weights(torch.nn.Linear(64, 64), path, None).weight, kept)


def test_a_file_may_be_replaced_by_the_network_that_is_mapped_from_it(tmp_path: Path) -> None:
    path, network = tmp_path / "a.safetensors", torch.nn.Linear(64, 64)
    save_weights(network, path)
    mapped = map_weights(torch.nn.Linear(64, 64), path, torch.float32)
    kept = mapped.weight.detach().clone()
    save_weights(torch.nn.Linear(64, 64), path)
    assert torch.equal(mapped.weight, kept)
    save_weights(mapped, path)
    assert torch.equal(load_file(path)["weight"], kept)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_two_readings_of_a_weight_share_it_until_both_are_gone(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(os.urandom(1 << 16))
    mapped = Mapped(path)
    first, second = (mapped.tensor(torch.uint8, (1 << 16,), 0) for _ in range(2))
    first.fill_(7)
    del first
    assert bool((second == 7).all())
    del second
    again = mapped.tensor(torch.uint8, (1 << 16,), 0)
    if sys.platform == "linux":
        assert bytes(again.numpy()) == path.read_bytes()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16, None])
def test_mapped_weights_are_those_that_are_copied(
    tmp_path: Path, dtype: torch.dtype | None
) -> None:
    path, network = tmp_path / "a.safetensors", torch.nn.Linear(5, 3).half()
    save_weights(network, path)
    mapped, copied = torch.nn.Linear(5, 3), torch.nn.Linear(5, 3)
    load_weights(copied, path)
    map_weights(mapped, path, dtype)
    copied.to(dtype or torch.float16)
    assert mapped.weight.dtype == (dtype or torch.float16)
    for name, value in copied.state_dict().items():
        assert torch.equal(mapped.state_dict()[name], value)
    assert not any(value.requires_grad for value in mapped.parameters())
    assert {n: v.shape for n, v in read_weights(path).items()} == {"weight": (3, 5), "bias": (3,)}
