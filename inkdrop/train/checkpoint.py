"""Checkpoints: each is a folder committed by a single rename, with a sha256 for every file.

checkpoints/00000400/
  manifest.json           sha256 of each file below
  model/                  a Model folder with the averaged weights: what `sample` loads
  training/               last weights, optimizer state and counters, for resuming
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
    """A State as it is saved: unsharded tensors by name, and the counters.

    moments: AdamW's state, keyed by "parameter name:entry"
    computed: `World.computed`, on which rounding depends
    """

    network: dict[str, Tensor]
    average: dict[str, Tensor]
    moments: dict[str, Tensor]
    update: int
    refused: int
    computed: dict[str, Any]


def gathered(state: State, world: World) -> Kept:
    """The State, gathered for the main process to save; every process must call this."""
    return Kept(
        network=world.whole_state(state.network),
        average=world.whole(state.ema),
        moments=world.whole(_moments(state)),
        update=state.update,
        refused=state.refused,
        computed=world.computed,
    )


def save(folder: Path, model: Trained, kept: Kept) -> tuple[Path, list[str]]:
    """Writes a checkpoint to `folder` and deletes all but the last two.

    Returns its path, and a sentence about each older one that could not be deleted.

    model: the model with the averaged weights
    """
    path = folder / f"{kept.update:08d}"
    # The average is written twice: for resuming, and as the model.
    written = (*kept.network.values(), *(2 * (*kept.average.values(),)), *kept.moments.values())
    with commit_folder(path, needs=sum(value.nbytes for value in written)) as beside:
        (beside / "model").mkdir()
        (beside / "training").mkdir()
        model.write(beside / "model")
        _write_training(beside / "training", kept)
        (beside / MANIFEST).write_text(json.dumps(manifest(beside), indent=2) + "\n")
    return path, [said for old in checkpoints(folder.parent)[:-KEEP] for said in _deleted(old)]


def _deleted(old: Path) -> list[str]:
    """Deletes a checkpoint; a sentence if that failed, which does not harm the training."""
    try:
        shutil.rmtree(old)
    except OSError as error:
        return [f"the old checkpoint {old} could not be deleted ({error.strerror}); delete it"]
    return []


def load(path: Path, state: State) -> None:
    """Loads a checkpoint into `state`; the number of processes and the sharding may differ.

    ValueError if the checkpoint belongs to a different network, or its counters are damaged.
    """
    training = path / "training"
    state.network.load_state_dict(_like(training / "network.safetensors", _state_dict(state)))
    state.ema = _like(training / "average.safetensors", state.ema)
    state.update, state.refused = _counted(training / "counters.json")
    _load_optimizer(state, read_weights(training / "optimizer.safetensors"))


def otherwise(path: Path, world: World) -> str | None:
    """A sentence if a checkpoint was computed in another way, which rounds otherwise; else None."""
    before = read_json(path / "training" / "counters.json").get("computed")
    before = before if isinstance(before, dict) else {}
    now = world.computed
    changes = [
        f"{name} {before[name]} so far and {value} now"
        for name, value in now.items()
        if before.get(name, value) != value
    ]
    if not changes:
        return None
    return (
        f"{', '.join(changes)}: sums are rounded in another order, so the results will differ in"
        " their last digits from those of a training that went on as before"
    )


def _counted(file: Path) -> tuple[int, int]:
    """The updates that were done, and how many of the last ones in a row were refused."""
    counters = read_json(file)
    found = counters.get("update"), counters.get("refused")
    if not all(isinstance(count, int) and count >= 0 for count in found):
        raise ValueError(
            f"{file} is damaged: update and refused are {found[0]!r} and {found[1]!r}, not two"
            " counts; delete this checkpoint to go on from an older one"
        )
    return int(counters["update"]), int(counters["refused"])


def _write_training(folder: Path, kept: Kept) -> None:
    from safetensors.torch import save_file

    save_file(_flat(kept.network), folder / "network.safetensors")
    save_file(_flat(kept.average), folder / "average.safetensors")
    save_file(_flat(kept.moments), folder / "optimizer.safetensors")
    counters = {"update": kept.update, "refused": kept.refused, "computed": kept.computed}
    (folder / "counters.json").write_text(json.dumps(counters) + "\n")


def _flat(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().cpu().contiguous() for name, value in tensors.items()}


def _state_dict(state: State) -> dict[str, Tensor]:
    return dict(state.network.state_dict())


def _like(path: Path, targets: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copies of a file's tensors, placed like their targets; copies because the file is mapped."""
    found = read_weights(path)
    check_same(str(path), {name: value.shape for name, value in targets.items()}, found)
    return {name: cut(found[name], target) for name, target in targets.items()}


def _names(state: State) -> dict[Tensor, str]:
    return {parameter: name for name, parameter in state.network.named_parameters()}


def _moments(state: State) -> dict[str, Tensor]:
    """AdamW's state, keyed by "parameter name:entry"; empty before the first step."""
    names = _names(state)
    return {
        f"{names[parameter]}:{entry}": value
        for parameter, entries in state.optimizer.state.items()
        for entry, value in entries.items()
    }


def _load_optimizer(state: State, moments: dict[str, Tensor]) -> None:
    # The entries are set directly: load_state_dict would cast them and match them by position.
    state.optimizer.state.clear()
    by_name = {name: parameter for parameter, name in _names(state).items()}
    for key, value in moments.items():
        name, _, entry = key.rpartition(":")
        if name not in by_name:
            raise ValueError(f"the optimizer's {key} in a checkpoint belongs to no weight here")
        parameter = by_name[name]
        state.optimizer.state[parameter][entry] = _entry(entry, value, parameter)


def _entry(entry: str, value: Tensor, parameter: Tensor) -> Tensor:
    if entry != "step":
        return cut(value, parameter)
    # AdamW never shards its step counter, and keeps it on the CPU unless the weight is on a GPU.
    return value.to(parameter.device if parameter.is_cuda else "cpu", copy=True)
