"""Conversion of whole checkpoints between Model folders, diffusers folders and single files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch

from inkdrop.config import choose
from inkdrop.convert.adapters.open import write_adapter
from inkdrop.convert.control import open_control
from inkdrop.convert.families import adapter_at, controls_at, exporter, family_at, is_control
from inkdrop.convert.family import ForeignLayout
from inkdrop.convert.files.layout import is_own
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.report import Report
from inkdrop.convert.open import located, open_checkpoint
from inkdrop.files import FILES, check_writable
from inkdrop.model import Model

Layout = Literal["folder", "single", "inkdrop"]
LAYOUTS: tuple[Layout, ...] = ("folder", "single", "inkdrop")


def convert(
    path: str | Path,
    out: str | Path,
    to: str | None = None,
    options: ReadOptions = PLAIN,
    *,
    half: bool = False,
) -> Report:
    """Write the checkpoint at `path` to `out` in another layout, beside it and then renamed.

    to: folder (of diffusers), single or inkdrop; by default the name of `out` decides: one that
        ends in .safetensors is a single file, any other a Model folder
    half: all weights in float16; otherwise they stay as they are stored, to the bit, or if a
        network is stored in several types become the widest of them

    A control network, or an autoencoder by itself, goes from a diffusers folder, the usual kind of
    folder for it, to a single file and back. A LoRA or an embedding becomes safetensors with the
    names that it has.
    ValueError if `out` exists.
    """
    out = Path(out)
    layout = _layout(out, to)
    path, dtype = located(path), torch.float16 if half else None
    if is_control(path, options):
        return _convert_control(path, out, layout, options, dtype)
    if layout == "single" and (kind := adapter_at(path, options)) is not None:
        return Report((), notes=write_adapter(path, kind, out, options, half=half))
    if not is_own(path):
        family = family_at(path, options)
        foreign = family.read(path, options)
        what = family.alone(foreign)
        if what == "an autoencoder" and family.coders is not None:
            return family.coders.export(foreign, out, _foreign(path, layout), dtype)
        if what:
            raise ValueError(f"{path} is {what} alone, which is not converted; get the whole model")
    model, report = open_checkpoint(path, options, dtype=dtype, text=False)
    write(model, out, layout or "inkdrop")
    return report


def write(model: Model, out: Path, layout: Layout) -> None:
    """The model with its text, in one of the layouts."""
    if layout == "inkdrop":
        model.save(out)
    else:
        exporter(model).export(model, out, layout)


def _convert_control(
    path: Path, out: Path, layout: Layout | None, options: ReadOptions, dtype: torch.dtype | None
) -> Report:
    layout = _foreign(path, layout)
    network, report = open_control(path, options=options, dtype=dtype)
    controls_at(path, options).export(network, out, layout)
    return report


def _foreign(path: Path, layout: Layout | None) -> ForeignLayout:
    """The layout of a network by itself; by default a diffusers folder, the usual kind for one."""
    if layout == "inkdrop":
        raise ValueError(
            f"{path} is a network by itself, for which inkdrop has no layout of its own; give --to"
            " folder, or a name that ends in .safetensors"
        )
    return layout or "folder"


def _layout(out: Path, to: str | None) -> Layout | None:
    """The layout that is asked for or that a name implies; None: the usual kind of folder."""
    single = out.suffix == ".safetensors"
    layout = to or ("single" if single else None)
    if layout is not None:
        choose("layout", layout, dict.fromkeys(LAYOUTS))
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} exists already; give another name, or remove it")
    check_writable(out)
    if (layout == "single") != single or out.suffix in FILES[1:]:
        what = "a single file" if layout == "single" else "a folder"
        raise ValueError(
            f"{out} is not a name for {what}: single files, and only they, end in .safetensors"
        )
    return cast("Layout | None", layout)
