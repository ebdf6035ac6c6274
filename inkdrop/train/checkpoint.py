"""Checkpoints: a folder committed by one rename, with a sha256 of every file.

checkpoints/00000400/
  manifest.json           sha256 of each file below
  model/                  a Model folder with the averaged weights: what `sample` loads
  training/               last weights, optimizer, counters: what resuming needs
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from inkdrop.files import commit_folder
from inkdrop.runs import MANIFEST, checkpoints, manifest
from inkdrop.train.objective import Trained
from inkdrop.train.parallel import World, cut
from inkdrop.train.updates import State
from inkdrop.weights import check_same, read_json, read_weights

KEEP = 2


@dataclass(frozen=True)
class Kept:
    """A State as it is written: whole tensors by name, and counters.

    moments: AdamW's state by "weight's name:entry"
    """

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]
    update: int
    refused: int


def gathered(state: State, world: World) -> Kept:
    """A State ready to be written by the main process; all processes must call this together."""
    return Kept(
        network=world.whole_state(state.network),
        average=world.whole(state.ema),
        moments=world.whole(_moments(state)),
        update=state.update,
        refused=state.refused,
    )


def save(folder: Path, model: Trained, kept: Kept) -> Path:
    """Writes a checkpoint below `folder` and removes all but the last two; returns its path.

    model: with the averaged weights.
    """
    path = folder / f"{kept.update:08d}"
    with commit_folder(path) as beside:
        (beside / "model").mkdir()
        (beside / "training").mkdir()
        model.write(beside / "model")
        _write_training(beside / "training", kept)
        (beside / MANIFEST).write_text(json.dumps(manifest(beside), indent=2) + "\n")
    for old in checkpoints(folder.parent)[:-KEEP]:
        shutil.rmtree(old)
    return path


def load(path: Path, state: State) -> None:
    """Fills `state` from a checkpoint made by `save`, whoever trained before.

    ValueError if the checkpoint is that of another network.
    """
    training = path / "training"
    state.network.load_state_dict(_like(training / "network.safetensors", _state_dict(state)))
    state.ema = _like(training / "average.safetensors", state.ema)
    counters = read_json(training / "counters.json")
    state.update, state.refused = int(counters["update"]), int(counters["refused"])
    _load_optimizer(state, read_weights(training / "optimizer.safetensors"))


def _write_training(folder: Path, kept: Kept) -> None:
    from safetensors.torch import save_file

    save_file(_flat(kept.network), folder / "network.safetensors")
    save_file(_flat(kept.average), folder / "average.safetensors")
    save_file(_flat(kept.moments), folder / "optimizer.safetensors")
    counters = {"update": kept.update, "refused": kept.refused}
    (folder / "counters.json").write_text(json.dumps(counters) + "\n")


def _flat(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _state_dict(state: State) -> dict[str, Tensor]:
    return dict(state.network.state_dict())


def _like(path: Path, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors of a file, each where its target is; copies, because the file is mapped."""
    found = read_weights(path)
    check_same(str(path), {name: value.shape for name, value in targets.items()}, found)
    return {name: cut(found[name], target) for name, target in targets.items()}


def _names(state: State) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in state.network.named_parameters()}


def _moments(state: State) -> dict[str, Tensor]:
    """AdamW's state by "weight's name:entry"; entries that are not there yet are left out."""
    names = _names(state)
    return {
        f"{names[parameter]}:{entry}": value
        for parameter, entries in state.optimizer.state.items()
        for entry, value in entries.items()
    }


def _load_optimizer(state: State, moments: dict[str, Tensor]) -> None:
    # load_state_dict would cast and reorder; the entries themselves are all there is.
    state.optimizer.state.clear()
    by_name = {name: parameter for parameter, name in _names(state).items()}
    for key, value in moments.items():
        name, entry = key.rsplit(":", 1)
        parameter = by_name[name]
        state.optimizer.state[parameter][entry] = _entry(entry, value, parameter)


def _entry(entry: str, value: Tensor, parameter: Tensor) -> Tensor:
    if entry != "step":
        return cut(value, parameter)
    # A count of steps, which AdamW keeps undivided, and on the CPU unless the weight is on a GPU.
    return value.to(parameter.device if parameter.is_cuda else "cpu", copy=True)
