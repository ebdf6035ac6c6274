"""Control networks of others: a diffusers folder or a single file, read and written back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch

from inkdrop.convert.files.fill import filled
from inkdrop.convert.files.folders import open_file, open_part
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.layout import (
    ADAPTERS,
    CONTROL_CLASS,
    holds_control,
    is_control_folder,
    layout_of_names,
)
from inkdrop.convert.files.report import Report
from inkdrop.convert.files.safe import is_pickle
from inkdrop.convert.files.settings import class_of, read_settings
from inkdrop.convert.files.stored import Weights, under
from inkdrop.convert.sd import control_keys
from inkdrop.convert.sd.control_settings import read_control_settings, write_control_settings
from inkdrop.convert.sd.export import check_same, held_all, renamed, write_part
from inkdrop.convert.sd.families import Family, family_of
from inkdrop.convert.sd.foreign import PLAIN, ReadOptions
from inkdrop.convert.sd.leftovers import IGNORED, summed
from inkdrop.convert.sd.shapes import control_shape
from inkdrop.convert.sd.single import UNET
from inkdrop.files import commit_folder, must_exist, replacing
from inkdrop.model import Model
from inkdrop.networks.control import ControlNet, ControlNetConfig, unet_of
from inkdrop.networks.unet import UNet

PREFIX = "control_model."


@dataclass(frozen=True)
class Branch:
    """A control network in a foreign file: its shape here, its weights, and their names there.

    layout: folder or single; unused: what else is there, and why it is of no use here
    """

    path: Path
    layout: str
    config: ControlNetConfig
    naming: Naming
    weights: Weights
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def family(self) -> Family | None:
        """Of the models that it is for."""
        return family_of(self.config.unet)


def is_control(path: Path, options: ReadOptions = PLAIN) -> bool:
    """True for a folder or a file of a control network.

    So is a file that holds a model beside it, unless what is to be ignored is the control network.
    A pickle is not opened to see, unless the options trust it.
    """
    if path.is_dir():
        return is_control_folder(path)
    closed = is_pickle(path) and not options.trust_pickle
    names = () if closed else tuple(_weights(path, options)[0])
    return holds_control(names) and layout_of_names(names, str(path)) in ("control", "single")


def read_control(path: str | Path, options: ReadOptions = PLAIN) -> Branch:
    """What a folder or a file holds; ValueError in one line if it is no control network."""
    path = must_exist(path, "control network")
    options.check(path, "a control network", ("variant",) if path.is_dir() else ("ignore",))
    return _read_folder(path, options) if path.is_dir() else _read_single(path, options)


def open_control(
    path: str | Path,
    model: Model | None = None,
    options: ReadOptions = PLAIN,
    *,
    dtype: torch.dtype | None = torch.float32,
) -> tuple[ControlNet, Report]:
    """The control network at a path, in evaluation mode, and what became of every weight.

    model: the one to control; ValueError before any weight is read if that is of another family.
    dtype: of all weights; None: what they are stored in, mapped.
    """
    branch = read_control(path, options)
    if model is not None:
        _check_family(branch, unet_of(model.network))
    network, part = filled(
        partial(ControlNet, branch.config), branch, "control", str(branch.path), dtype
    )
    return network, Report((part,), branch.unused, notes=(*branch.notes, *part.notes()))


def export_control_folder(network: ControlNet, out: str | Path) -> None:
    """A diffusers folder, committed by a rename."""
    settings = write_control_settings(network.control)
    with commit_folder(Path(out)) as beside:
        naming = control_keys.diffusers_naming(network.control)
        write_part(beside, settings, network, naming)


def export_control_single(network: ControlNet, out: str | Path) -> None:
    """A single file in LDM's layout, written beside and renamed.

    ValueError for a shape that such a file, which says little besides its weights, cannot tell.
    """
    from safetensors.torch import save_file

    inner = renamed(network, control_keys.ldm_naming(network.control))
    read = control_shape(held_all(inner), "the file")
    check_same("control network", network.control, read)
    with replacing(Path(out)) as beside:
        save_file({PREFIX + name: value for name, value in inner.items()}, beside)


def _read_folder(folder: Path, options: ReadOptions) -> Branch:
    file = folder / "config.json"
    if not file.is_file():
        raise ValueError(f"{folder} is no control network: it has no config.json")
    settings = read_settings(file)
    class_of(settings, (CONTROL_CLASS,), str(file))
    config = read_control_settings(settings, str(file))
    weights, variant = open_part(folder, options)
    notes = (f"{folder.name}: the variant {variant} of its weights",) if variant else ()
    naming = control_keys.diffusers_naming(config)
    return Branch(folder, "folder", config, naming, weights, notes=notes)


def _read_single(path: Path, options: ReadOptions) -> Branch:
    weights, left = _weights(path, options)
    own: Weights = under(weights, PREFIX)
    others = [name for name in weights if own and not name.startswith(PREFIX)]
    whole = any(name.startswith(UNET) for name in others)
    why = "of the model that it lies beside" if whole else "no part of the control network"
    left |= dict.fromkeys(others, why)
    own = own or weights
    if not holds_control(own):
        kind = layout_of_names(own, str(path))
        what = ADAPTERS.get(kind, "a model or a part of one")
        raise ValueError(f"{path} is no control network: it is {what}")
    config = control_shape(own, str(path))
    ldm = "input_hint_block.0.weight" in own
    naming = (control_keys.ldm_naming if ldm else control_keys.diffusers_naming)(config)
    return Branch(path, "single", config, naming, own, summed(left))


def _weights(path: Path, options: ReadOptions) -> tuple[Weights, dict[str, str]]:
    """What a file holds, and the names of what was to be ignored, with that reason."""
    weights = open_file(path, options).weights
    ignored = {name: IGNORED for name in weights if name.startswith(options.ignore)}
    return {name: value for name, value in weights.items() if name not in ignored}, ignored


def _check_family(branch: Branch, unet: UNet) -> None:
    """ValueError that names both families, where they are known and differ."""
    mine, its = branch.family, family_of(unet.config)
    if mine is not None and its is not None and mine != its:
        raise ValueError(
            f"{branch.path} is a control network for {mine.name}, but the model is of {its.name};"
            " get the one for its family"
        )
