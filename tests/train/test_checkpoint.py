"""A checkpoint holds all of a State, is whole or not there, and only the last two stay."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
import tiny
import torch
from safetensors.torch import load_file
from torch import Tensor

from inkdrop import runs
from inkdrop.model import Model
from inkdrop.model.folder import build_model
from inkdrop.train import checkpoint, defaults
from inkdrop.train.feed import Feed
from inkdrop.train.parallel import World
from inkdrop.train.updates import State, start, updates

HERE = World(device=torch.device("cpu"))


def trained(folder: Path, count: int, seed: int = 0) -> tuple[Model, State]:
    """The tiny model and its state after so many updates."""
    torch.manual_seed(seed)
    data = tiny.data(folder)
    model, config = tiny.model(data), dataclasses.replace(tiny.ask().config, updates=count)
    state = start(model, config)
    for _ in updates(model, Feed(data, config, HERE.device), config, state, HERE):
        pass
    return model, state


def saved(model: Model, state: State, run: Path) -> Path:
    return checkpoint.save(run / "checkpoints", model, checkpoint.gathered(state, HERE))[0]


def contents(state: State) -> dict[str, Tensor]:
    """Everything that training changes, by name."""
    found = {f"network {name}": v for name, v in state.network.state_dict().items()}
    found |= {f"average {name}": value for name, value in state.ema.items()}
    for number, parameter in enumerate(state.parameters):
        entries = state.optimizer.state[parameter]
        found |= {f"{entry} of {number}": value for entry, value in entries.items()}
    return found


def test_a_state_comes_back_with_its_optimizer(tmp_path: Path) -> None:
    model, state = trained(tmp_path, 5)
    state.refused = 2
    path = saved(model, state, tmp_path / "run")
    assert path == tmp_path / "run" / "checkpoints" / "00000005"
    _, other = trained(tmp_path, 1, seed=1)
    checkpoint.load(path, other)
    assert (other.update, other.refused) == (5, 2)
    want, found = contents(state), contents(other)
    assert want.keys() == found.keys() and any(name.startswith("exp_avg_sq") for name in want)
    assert all(torch.equal(want[name], found[name]) for name in want)


def test_a_loaded_state_trains_on_as_if_it_had_never_stopped(tmp_path: Path) -> None:
    _, whole = trained(tmp_path, 8)
    data, config = tiny.data(tmp_path), dataclasses.replace(tiny.ask().config, updates=8)
    feed = Feed(data, config, HERE.device)
    torch.manual_seed(0)
    model = tiny.model(data)
    state = start(model, config)
    for update in updates(model, feed, config, state, HERE):
        if update.index == 3:
            break
    path = saved(model, state, tmp_path / "run")
    later = tiny.model(data)
    resumed = start(later, config)
    checkpoint.load(path, resumed)
    files = {file: file.read_bytes() for file in path.rglob("*.safetensors")}
    assert [u.index for u in updates(later, feed, config, resumed, HERE)] == [4, 5, 6, 7]
    want, found = contents(whole), contents(resumed)
    assert all(torch.equal(want[name], found[name]) for name in want)
    assert all(file.read_bytes() == before for file, before in files.items())


def test_the_last_two_are_kept_and_each_is_undamaged(tmp_path: Path) -> None:
    model, state = trained(tmp_path, 3)
    for number in (3, 12, 7, 100):
        state.update = number
        saved(model, state, tmp_path / "run")
    kept = runs.checkpoints(tmp_path / "run")
    assert [path.name for path in kept] == ["00000012", "00000100"]
    assert [runs.damage(path) for path in kept] == [None, None]
    assert Model.load(tmp_path / "run").spec == model.spec


@pytest.mark.parametrize(
    "name", ["model/network.safetensors", "training/average.safetensors", "training/counters.json"]
)
def test_a_damaged_file_is_named(tmp_path: Path, name: str) -> None:
    model, state = trained(tmp_path, 1)
    path = saved(model, state, tmp_path / "run")
    content = bytearray((path / name).read_bytes())
    content[-3] ^= 1
    (path / name).write_bytes(content)
    assert runs.damage(path) == f"{name} has changed since it was written"
    with pytest.raises(ValueError, match=rf"every checkpoint .* is damaged: .*\({name} has"):
        runs.newest_checkpoint(tmp_path / "run")


def test_one_that_was_half_written_is_not_listed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, state = trained(tmp_path, 1)
    path = saved(model, state, tmp_path / "run")
    (path.parent / "00000009.new").mkdir()
    shutil.copytree(path / "training", path.parent / "00000009.new" / "training")
    state.update = 9

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="disk is full"):
        saved(model, state, tmp_path / "run")
    assert runs.checkpoints(tmp_path / "run") == [path]
    assert runs.newest_checkpoint(tmp_path / "run") == (path, [])


@pytest.mark.parametrize(
    "counters", ["{}", '{"update": "x", "refused": 0}', '{"update": 1e400, "refused": -1}']
)
def test_damaged_counters_are_named(tmp_path: Path, counters: str) -> None:
    model, state = trained(tmp_path, 1)
    path = saved(model, state, tmp_path / "run")
    (path / "training" / "counters.json").write_text(counters)
    with pytest.raises(ValueError, match=r"counters.json is damaged: update and refused are"):
        checkpoint.load(path, state)


def test_a_checkpoint_of_another_network_is_refused(tmp_path: Path) -> None:
    model, state = trained(tmp_path, 1)
    path = saved(model, state, tmp_path / "run")
    config = tiny.ask().config
    described = defaults.model_description(
        tiny.data(tmp_path), config, {"network": {**tiny.NETWORK, "width": 16}}
    )
    wide = build_model(described, "a wider model")
    with pytest.raises(ValueError, match=r"network\.safetensors has other shapes for \d+ weights"):
        checkpoint.load(path, start(wide, config))


def test_its_files_hold_the_bare_networks_names(tmp_path: Path) -> None:
    model, state = trained(tmp_path, 2)
    path = saved(model, state, tmp_path / "run")
    names = model.network.state_dict().keys()
    for file in ("training/network", "training/average", "model/network"):
        assert load_file(path / f"{file}.safetensors").keys() == names
    moments = load_file(path / "training" / "optimizer.safetensors")
    assert {name.rsplit(":", 1)[0] for name in moments} <= names
