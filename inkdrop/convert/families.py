"""The table of families, and what lies at a path: the one place that knows all kinds of files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from inkdrop.convert.adapters.kinds import LORA, adapter_of_file, adapter_of_folder, is_whole_lora
from inkdrop.convert.family import Controls, Family
from inkdrop.convert.files import layout
from inkdrop.convert.files.folders import open_file
from inkdrop.convert.files.layout import CONFIG, INDEX, Kind, layout_of_folder
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.safe import is_pickle
from inkdrop.convert.files.settings import class_of, read_settings
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.family import STABLE_DIFFUSION
from inkdrop.files import must_exist
from inkdrop.model import Model
from inkdrop.weights import read_json

FAMILIES: tuple[Family[Any], ...] = (STABLE_DIFFUSION,)
CONTROLS: tuple[Controls[Any], ...] = tuple(f.controls for f in FAMILIES if f.controls is not None)


def marked(folder: Path) -> str | None:
    """What the files of a folder show it to hold; None if it is not a model or an adapter."""
    return layout.marked(folder) or ("adapter" if adapter_of_folder(folder) else None)


def family_at(path: str | Path, options: ReadOptions = PLAIN) -> Family[Any]:
    """The family of the foreign checkpoint at a path.

    ValueError in one line if there is anything else, which is named if its kind is known.
    """
    path = must_exist(path, "model")
    if path.is_dir():
        return _family_of_folder(path)
    weights = open_file(path, options).weights
    kind = kind_of_file(weights)
    for family in FAMILIES:
        if family.kind is kind:
            return family
    raise _unknown(path, weights) if kind is None else ValueError(f"{path} is {kind.what}")


def kind_of_file(weights: Weights) -> Kind | None:
    """The kind of file that has these weights: a model, an adapter, a control network or a part."""
    if is_whole_lora(weights):
        return LORA
    return (
        _matching((family.kind for family in FAMILIES), weights)
        or adapter_of_file(weights)
        or _matching((controls.kind for controls in CONTROLS), weights)
        or _matching(part_kinds(), weights)
    )


def part_kinds() -> tuple[Kind, ...]:
    """The kinds of files of one network, which need the settings of their folder."""
    return tuple(family.part for family in FAMILIES if family.part is not None)


def adapter_at(path: Path, options: ReadOptions = PLAIN) -> Kind | None:
    """The kind of the LoRA or embedding at a path; None for anything else."""
    if path.is_dir():
        return None if layout.marked(path) else adapter_of_folder(path)
    weights = open_file(path, options).weights
    return adapter_of_file(weights) if _is_adapter(weights) else None


def is_control(path: Path, options: ReadOptions = PLAIN) -> bool:
    """True for a folder or a file of a control network.

    So is a file that also holds a model, unless the options ignore the control network in it. A
    pickle is opened only where the options trust it.
    """
    if path.is_dir():
        return _is_control_folder(path)
    if is_pickle(path) and not options.trust_pickle:
        return False
    weights = _kept(path, options)
    return _controls_of(weights) is not None and not _is_adapter(weights)


def control_folder(path: str | Path) -> Path:
    """Where the control network of a path is: the path itself, or a part of a whole pipeline.

    ValueError for a pipeline with several.
    """
    path = Path(path)
    if not path.is_dir() or layout.marked(path) != "folder":
        return path
    found = sorted(each.parent for each in path.glob(f"controlnet*/{CONFIG}"))
    if len(found) > 1:
        named = ", ".join(str(each) for each in found)
        raise ValueError(f"{path} has {len(found)} control networks; give one of them: {named}")
    return found[0] if found else path


def controls_at(path: str | Path, options: ReadOptions = PLAIN) -> Controls[Any]:
    """The family's reader for the control network at a path; ValueError if there is none."""
    path = control_folder(must_exist(path, "control network"))
    if path.is_dir():
        return _controls_of_folder(path)
    weights = _kept(path, options)
    found = _controls_of(weights)
    if found is not None:
        return found
    kind = kind_of_file(weights)
    if kind is None:
        raise _unknown(path, weights)
    raise ValueError(f"{path} is not a control network: it is {kind.what}")


def exporter(model: Model) -> Family[Any]:
    """The family as which a model can be written; ValueError if there is none."""
    for family in FAMILIES:
        if family.exports(model):
            return family
    raise ValueError(
        f"a {type(model.network).__name__} on {type(model.codec).__name__} has no place in the"
        f" layouts of others, which are for {' or '.join(f.takes for f in FAMILIES)}; use a folder"
        " of inkdrop's own"
    )


def _is_adapter(weights: Weights) -> bool:
    """True for an adapter; a file that has weights of a model as well is a model."""
    kind = kind_of_file(weights)
    return kind is not None and kind is adapter_of_file(weights)


def _unknown(path: Path, weights: Weights) -> ValueError:
    """The error for a file whose weights belong to no known kind."""
    found = ", ".join(list(weights)[:10]) or "nothing"
    return ValueError(f"{path} is not a model that is read here; its weights are {found}")


def _matching(kinds: Iterable[Kind], weights: Weights) -> Kind | None:
    return next((kind for kind in kinds if kind.matches(weights)), None)


def _family_of_folder(folder: Path) -> Family[Any]:
    adapter = None if layout.marked(folder) else adapter_of_folder(folder)
    if adapter is not None:
        raise ValueError(f"{folder} is {adapter.what}")
    found = layout_of_folder(folder)
    if found == "inkdrop":
        raise ValueError(f"{folder} is a model of inkdrop's own and needs no conversion")
    if _is_control_folder(folder):
        raise ValueError(f"{folder} is {CONTROLS[0].kind.what}")
    file = folder / (INDEX if found == "folder" else CONFIG)
    classes = {f: f.pipelines if found == "folder" else f.networks for f in FAMILIES}
    known = [name for names in classes.values() for name in names]
    name = class_of(read_settings(file), known, str(file))
    return next(family for family, names in classes.items() if name in names)


def _is_control_folder(folder: Path) -> bool:
    """True for diffusers' folder of a control network, of whatever class."""
    if layout.marked(folder) != "part":
        return False
    name = read_json(folder / CONFIG).get("_class_name")
    return isinstance(name, str) and name.startswith("ControlNet")


def _controls_of_folder(folder: Path) -> Controls[Any]:
    file = folder / CONFIG
    if not file.is_file():
        raise ValueError(f"{folder} is not a control network: it has no {CONFIG}")
    known = [name for controls in CONTROLS for name in controls.classes]
    name = class_of(read_settings(file), known, str(file))
    return next(controls for controls in CONTROLS if name in controls.classes)


def _controls_of(weights: Weights) -> Controls[Any] | None:
    return next((controls for controls in CONTROLS if controls.kind.matches(weights)), None)


def _kept(path: Path, options: ReadOptions) -> Weights:
    """The weights of a file without those that the options ignore."""
    weights = open_file(path, options).weights
    return {n: value for n, value in weights.items() if not n.startswith(options.ignore)}
