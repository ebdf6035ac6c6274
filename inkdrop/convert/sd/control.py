"""Control networks for Stable Diffusion: a diffusers folder or a single file, read and written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal

import torch

from inkdrop.convert.files.fill import filled
from inkdrop.convert.files.folders import open_file, open_part
from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.layout import CONFIG, Kind
from inkdrop.convert.files.options import ReadOptions
from inkdrop.convert.files.parts import part
from inkdrop.convert.files.report import Report
from inkdrop.convert.files.settings import read_settings
from inkdrop.convert.files.stored import Weights, held_all, under
from inkdrop.convert.files.write import under_names, write_part
from inkdrop.convert.sd import control_keys
from inkdrop.convert.sd.control_settings import read_control_settings, write_control_settings
from inkdrop.convert.sd.export import check_same
from inkdrop.convert.sd.leftovers import IGNORED, summed
from inkdrop.convert.sd.shapes import control_shape
from inkdrop.convert.sd.single import UNET
from inkdrop.convert.sd.versions import Version, version_of
from inkdrop.files import commit_folder, replacing
from inkdrop.model import Model
from inkdrop.networks.control import ControlNet, ControlNetConfig, unet_of
from inkdrop.networks.unet import UNet

PREFIX = "control_model."
KIND = Kind(
    "a control network, which guides a model and is not one itself (--control takes it)",
    weights=(r"control_model\.|controlnet_|input_hint_block\.",),
)


@dataclass(frozen=True)
class Branch:
    """A control network in a foreign file: our configuration, its weights and their names there.

    unused: what else the file holds, and why it is not used here
    """

    path: Path
    layout: Literal["folder", "single"]
    config: ControlNetConfig
    naming: Naming
    weights: Weights
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> Version | None:
        """The version of Stable Diffusion that it is for."""
        return version_of(self.config.unet)

    def lines(self) -> list[str]:
        """The control network as `inkdrop info` prints it."""
        config = self.config
        what = "a diffusers folder" if self.layout == "folder" else "a single file"
        return [
            f"layout: {what} of a control network",
            f"family: {'unknown' if self.version is None else self.version.name}",
            part("control", self.weights).line(),
            f"hint: {config.hint_channels} channels, {config.hint_order}, {config.factor} times the"
            " size of the code",
            *(f"{name}: unused, {why}" for name, why in self.unused.items()),
            *self.notes,
        ]


def read_control(path: Path, options: ReadOptions) -> Branch:
    """What a folder or a file holds; ValueError in one line if it is not a control network."""
    options.check(path, "a control network", ("variant",) if path.is_dir() else ("ignore",))
    return _read_folder(path, options) if path.is_dir() else _read_single(path, options)


def build_control(
    branch: Branch, model: Model | None, dtype: torch.dtype | None
) -> tuple[ControlNet, Report]:
    """The control network in evaluation mode, and the report of its weights.

    model: the one to control; ValueError before any weight is read if it is of another version.
    """
    if model is not None:
        _check_version(branch, unet_of(model.network))
    network, found = filled(
        partial(ControlNet, branch.config), branch, "control", str(branch.path), dtype
    )
    return network, Report((found,), branch.unused, notes=(*branch.notes, *found.notes()))


def export_control(network: ControlNet, out: Path, layout: Literal["folder", "single"]) -> None:
    """A diffusers folder or a single file, written beside `out` and renamed."""
    (export_control_single if layout == "single" else export_control_folder)(network, out)


def export_control_folder(network: ControlNet, out: str | Path) -> None:
    """A diffusers folder, committed by a rename."""
    settings = write_control_settings(network.control)
    with commit_folder(Path(out)) as beside:
        write_part(beside, settings, network, control_keys.diffusers_naming(network.control))


def export_control_single(network: ControlNet, out: str | Path) -> None:
    """A single file in LDM's layout, written beside `out` and renamed.

    ValueError for a configuration that would be read back as another: such a file has no settings.
    """
    from safetensors.torch import save_file

    inner = under_names(network, control_keys.ldm_naming(network.control))
    read = control_shape(held_all(inner), "the file")
    check_same("control network", network.control, read)
    with replacing(Path(out)) as beside:
        save_file({PREFIX + name: value for name, value in inner.items()}, beside)


def _read_folder(folder: Path, options: ReadOptions) -> Branch:
    file = folder / CONFIG
    config = read_control_settings(read_settings(file), str(file))
    weights, variant = open_part(folder, options)
    notes = (f"{folder.name}: the variant {variant} of its weights",) if variant else ()
    naming = control_keys.diffusers_naming(config)
    return Branch(folder, "folder", config, naming, weights, notes=notes)


def _read_single(path: Path, options: ReadOptions) -> Branch:
    everything = open_file(path, options).weights
    left = {name: IGNORED for name in everything if name.startswith(options.ignore)}
    weights = {name: value for name, value in everything.items() if name not in left}
    own = under(weights, PREFIX)
    others = [name for name in weights if own and not name.startswith(PREFIX)]
    whole = any(name.startswith(UNET) for name in others)
    why = "of the model beside it" if whole else "not part of the control network"
    left |= dict.fromkeys(others, why)
    own = own or weights
    config = control_shape(own, str(path))
    ldm = "input_hint_block.0.weight" in own
    naming = (control_keys.ldm_naming if ldm else control_keys.diffusers_naming)(config)
    return Branch(path, "single", config, naming, own, summed(left))


def _check_version(branch: Branch, unet: UNet) -> None:
    """ValueError that names both versions, where they are known and differ."""
    mine, its = branch.version, version_of(unet.config)
    if mine is not None and its is not None and mine != its:
        raise ValueError(
            f"{branch.path} is a control network for {mine.name}, but the model is of {its.name};"
            " get the one for its family"
        )
