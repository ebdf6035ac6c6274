"""Old pickles with a trainer's objects beside the weights, and hostile ones."""

from __future__ import annotations

import argparse
import collections
import pickle
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bomb import Bomb
from torch import Tensor, nn

from inkdrop.convert.files.pickled import Stub, open_trusted_pickle

WEIGHTS = {"a.weight": torch.randn(3, 2), "a.bias": torch.ones(2).half()}


@pytest.fixture
def trainer() -> Iterator[Any]:
    """A module of another program, which is gone where its pickle is opened."""
    module = types.ModuleType("old_trainer")
    source = """
class ModelCheckpoint:
    def __init__(self): self.best = 0.5

class Settings(dict):
    pass

class Several(list):
    pass

class Network(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = torch.nn.Linear(2, 3)
        self.register_buffer("table", torch.arange(4.0))
"""
    module.__dict__["torch"] = torch
    exec(source, module.__dict__)
    sys.modules["old_trainer"] = module
    yield module
    sys.modules.pop("old_trainer", None)


def opened(path: Path, data: Any, zipped: bool) -> dict[str, Tensor]:
    """The weights in a pickle of `data`, opened where its classes cannot be imported."""
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    sys.modules.pop("old_trainer", None)
    weights = {n: value.read() for n, value in open_trusted_pickle(path).weights.items()}
    assert "old_trainer" not in sys.modules
    return weights


def same(found: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return set(found) == set(wanted) and all(torch.equal(found[n], wanted[n]) for n in wanted)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_trainers_objects_are_left_out(tmp_path: Path, trainer: Any, zipped: bool) -> None:
    data = {
        "state_dict": WEIGHTS,
        "callbacks": {trainer.ModelCheckpoint: {"best": np.float64(0.25)}},
        "loops": [trainer.ModelCheckpoint(), trainer.Several([1, 2])],
        "hyper_parameters": trainer.Settings(lr=1e-4, words=trainer.Settings(n=3)),
        "args": argparse.Namespace(path=Path("runs")),
        "counts": collections.defaultdict(int, a=1),
        "best": np.float32(3.5),
        "drawn": np.arange(3),
        "seen": {1, 2},
        "epoch": 7,
    }
    path = tmp_path / "a.ckpt"
    assert same(opened(path, data, zipped), WEIGHTS)
    assert open_trusted_pickle(path).metadata["epoch"] == "7"


def test_an_old_embedding_in_a_parameter_dict(tmp_path: Path) -> None:
    vector = torch.randn(2, 8)
    data = {
        "string_to_token": {"*": 265},
        "string_to_param": nn.ParameterDict({"*": nn.Parameter(vector)}),
        "name": "glow", "step": 500,
    }  # fmt: skip
    assert same(opened(tmp_path / "a.pt", data, True), {"string_to_param.*": vector})
    with pytest.raises(ValueError, match=r"a module in the form .* before version 1\.6"):
        opened(tmp_path / "b.pt", data, False)


def test_a_pickled_module(tmp_path: Path, trainer: Any) -> None:
    network = trainer.Network()
    wanted = dict(network.state_dict())
    assert same(opened(tmp_path / "a.pt", network, True), wanted)
    sys.modules["old_trainer"] = trainer
    assert same(opened(tmp_path / "b.pt", {"state_dict": network}, True), wanted)


def test_a_stub_does_nothing() -> None:
    kind = type("os.system", (Stub,), {})
    made = kind("touch x", key=1)
    made.__setstate__({"a": 1})
    assert made.state == {"a": 1} and not callable(made)


class Asks:
    """Unpickles to a call of a function with one argument."""

    def __init__(self, function: Any, *given: Any) -> None:
        self.call = function, given

    def __reduce__(self) -> Any:
        return self.call


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "function", [eval, exec, getattr, __import__, open, pickle.loads, Path.touch, sys.exit]
)
def test_functions_of_pythons_own_are_refused_by_name(
    tmp_path: Path, function: Any, zipped: bool
) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.ckpt"
    data = {"state_dict": WEIGHTS, "x": Asks(function, f"open({str(mark)!r}, 'w')")}
    torch.save(data, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"restricted loader, .*it asks for \S+\); get the model"):
        open_trusted_pickle(path)
    assert not mark.exists()


def test_what_leaves_a_mark_is_never_called(tmp_path: Path) -> None:
    mark, path = tmp_path / "mark", tmp_path / "a.ckpt"
    torch.save({"state_dict": WEIGHTS, "x": Bomb(mark)}, path)
    with pytest.raises(ValueError, match="it asks for getattr"):
        open_trusted_pickle(path)
    assert not mark.exists()


def test_a_function_of_another_library_is_never_called(tmp_path: Path) -> None:
    """numpy's own way to run a file: it becomes a stub, and the weights are read."""
    mark, path = tmp_path / "mark.npy", tmp_path / "a.ckpt"
    data = {"state_dict": WEIGHTS, "x": Asks(np.save, str(mark), 1)}
    assert same(opened(path, data, True), WEIGHTS)
    assert not mark.exists()


def test_nothing_of_it_stays_in_the_loader(tmp_path: Path, trainer: Any) -> None:
    before = set(torch.serialization.get_safe_globals())
    opened(tmp_path / "a.ckpt", {"state_dict": WEIGHTS, "x": trainer.ModelCheckpoint()}, True)
    assert set(torch.serialization.get_safe_globals()) == before
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "a.ckpt", weights_only=True)
