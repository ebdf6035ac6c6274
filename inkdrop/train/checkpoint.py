"""Checkpoints: a folder committed by one rename, with a sha256 of every file.

checkpoints/00000400/
  manifest.json           sha256 of each file below
  model/                  a Model folder with the averaged weights: what `sample` loads
  training/               last weights, optimizer, counters: what resuming needs
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from torch import Tensor

from inkdrop.files import commit_folder
from inkdrop.runs import MANIFEST, checkpoints, manifest
from inkdrop.train.updates import State, Trained
from inkdrop.weights import load_weights, read_json, read_weights

KEEP = 2


def save(folder: Path, model: Trained, state: State) -> Path:
    """Writes a checkpoint below `folder` and removes all but the last two; its path.

    model: with the averaged weights.
    """
    path = folder / f"{state.update:08d}"
    with commit_folder(path) as beside:
        (beside / "model").mkdir()
        (beside / "training").mkdir()
        model.write(beside / "model")
        _write_training(beside / "training", state)
        (beside / MANIFEST).write_text(json.dumps(manifest(beside), indent=2) + "\n")
    for old in checkpoints(folder.parent)[:-KEEP]:
        shutil.rmtree(old)
    return path


def load(path: Path, state: State) -> None:
    """Fills `state` from a checkpoint made by `save`."""
    device = next(state.network.parameters()).device
    load_weights(state.network, path / "training" / "network.safetensors")
    averaged = read_weights(path / "training" / "average.safetensors")
    # Files are mapped: a copy does not change when somebody writes into them.
    state.ema = {name: averaged[name].to(device, copy=True) for name in state.ema}
    moments = read_weights(path / "training" / "optimizer.safetensors")
    counters = read_json(path / "training" / "counters.json")
    state.update, state.refused = int(counters["update"]), int(counters["refused"])
    _load_optimizer(state, moments)


def _write_training(folder: Path, state: State) -> None:
    from safetensors.torch import save_file

    save_file(_flat(state.network.state_dict()), folder / "network.safetensors")
    save_file(_flat(state.ema), folder / "average.safetensors")
    save_file(_flat(_moments(state)), folder / "optimizer.safetensors")
    counters = {"update": state.update, "refused": state.refused}
    (folder / "counters.json").write_text(json.dumps(counters) + "\n")


def _flat(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _names(state: State) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in state.network.named_parameters()}


def _moments(state: State) -> dict[str, Tensor]:
    """AdamW's state by "weight's name:entry"; entries that are not there yet are left out."""
    names = _names(state)
    return {
        f"{names[parameter]}:{entry}": value.clone()
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
        device = parameter.device if entry != "step" or parameter.is_cuda else "cpu"
        state.optimizer.state[parameter][entry] = value.to(device, copy=True)
