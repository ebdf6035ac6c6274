"""Checkpoints: a folder committed by one rename, with a sha256 of every file.

checkpoints/00000400/
  manifest.json           sha256 of each file below
  model/                  a Model folder with the averaged weights: what `sample` loads
  training/               last weights, optimizer, counters: what resuming needs
"""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

from torch import Tensor

from inkdrop import box
from inkdrop.config import dump
from inkdrop.files import commit_folder, must_exist, replacing
from inkdrop.model import Spec
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
        (beside / "manifest.json").write_text(json.dumps(_manifest(beside), indent=2) + "\n")
    for old in listed(folder)[:-KEEP]:
        shutil.rmtree(old)
    return path


def listed(folder: Path) -> list[Path]:
    """The checkpoints below a folder, oldest first, sound or not."""
    if not folder.is_dir():
        return []
    return sorted(p for p in folder.iterdir() if p.is_dir() and p.name.isdigit())


def latest(folder: Path) -> tuple[Path | None, list[str]]:
    """The newest sound checkpoint, and a sentence about each newer one that is not.

    None without sentences means that there is no checkpoint. ValueError if there are some but none
    is sound: training never starts afresh over them.
    """
    said: list[str] = []
    for path in reversed(listed(folder)):
        fault = damage(path)
        if fault is None:
            return path, said
        said.append(f"the checkpoint {path} is damaged ({fault}) and is passed over")
    if said:
        raise ValueError(
            f"no checkpoint in {folder} is sound: {'; '.join(said)};"
            " restore one of them, or train into another folder"
        )
    return None, said


def damage(path: Path) -> str | None:
    """What is wrong with a checkpoint, or None if every file has its sha256."""
    try:
        manifest = read_json(path / "manifest.json")
    except ValueError as error:
        return str(error)
    for name, digest in manifest.items():
        file = path / name
        if not file.is_file():
            return f"{name} is missing"
        if _sha256(file) != digest:
            return f"{name} is not what was written"
    return None


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


def _manifest(folder: Path) -> dict[str, str]:
    files = sorted(p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): _sha256(p) for p in files}


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def resolve(path: str | Path) -> tuple[Path, list[str]]:
    """The Model folder that `path` means: one itself, or a run's newest sound checkpoint.

    Or, where nothing has that name here, a model in the box. And a sentence about each newer
    checkpoint that is damaged.
    """
    path = box.find(path) or Path(path)
    if (path / "model.json").is_file():
        return path, []
    if not must_exist(path, "model folder or run").is_dir():
        raise ValueError(f"{path} is no model folder or run")
    newest, said = latest(path / "checkpoints")
    if newest is None:
        raise ValueError(f"{path} is neither a model folder nor a run with a checkpoint yet")
    return newest / "model", said


def amend(path: str | Path, spec: Spec) -> Path:
    """Replaces the spec of a Model folder or of a run's newest sound checkpoint; the Model folder.

    Weights are not touched; what was there stays whole if writing fails. ValueError for a model in
    the box, which stays as it came.
    """
    if box.find(path) is not None:
        raise ValueError(f"the model {path} is in the box and stays as it came; copy its folder")
    folder, _ = resolve(path)
    file = folder / "model.json"
    whole = read_json(file) | {"spec": dump(spec)}
    text = json.dumps(whole, indent=2) + "\n"
    if folder == Path(path):
        with replacing(file) as beside:
            beside.write_text(text, encoding="utf-8")
        return folder
    with commit_folder(folder.parent) as beside:
        shutil.copytree(folder.parent, beside, dirs_exist_ok=True)
        (beside / "model" / "model.json").write_text(text, encoding="utf-8")
        (beside / "manifest.json").unlink()
        (beside / "manifest.json").write_text(json.dumps(_manifest(beside), indent=2) + "\n")
    return folder
