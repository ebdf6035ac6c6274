"""Conversion of whole checkpoints between Model folders, diffusers folders and single files."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, cast

import torch

from inkdrop.config import choose
from inkdrop.convert.adapters.open import write_adapter
from inkdrop.convert.control import open_control
from inkdrop.convert.families import adapter_at, controls_at, exporter, is_control
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

    A control network goes from a diffusers folder, the usual kind of folder for it, to a single
    file and back. A LoRA or an embedding becomes safetensors with the names that it has.
    ValueError if `out` exists.
    """
    out = Path(out)
    layout = _layout(out, to)
    path, dtype = located(path), torch.float16 if half else None
    if is_control(path, options):
        return _convert_control(path, out, layout or "folder", options, dtype)
    if layout == "single" and (kind := adapter_at(path, options)) is not None:
        return Report((), notes=write_adapter(path, kind, out, options, half=half))
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
    path: Path, out: Path, layout: Layout, options: ReadOptions, dtype: torch.dtype | None
) -> Report:
    if layout == "inkdrop":
        raise ValueError(
            f"{path} is a control network, for which inkdrop has no layout of its own; give --to"
            " folder, or a name that ends in .safetensors"
        )
    network, report = open_control(path, options=options, dtype=dtype)
    controls_at(path, options).export(network, out, layout)
    return report


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
