"""Conversion of whole models between our folders, those of diffusers and single files."""

from __future__ import annotations

from pathlib import Path

import torch

from inkdrop.config import choose
from inkdrop.convert.adapters.open import without_pickle
from inkdrop.convert.files.report import Report
from inkdrop.convert.open import located, open_checkpoint
from inkdrop.convert.sd.control import (
    export_control_folder,
    export_control_single,
    is_control,
    open_control,
)
from inkdrop.convert.sd.export import export_single, write_folder
from inkdrop.convert.sd.foreign import PLAIN, ReadOptions
from inkdrop.convert.sd.text_export import single_text, write_text_folders
from inkdrop.files import FILES, commit_folder
from inkdrop.model import Model

LAYOUTS = ("folder", "single", "inkdrop")


def convert(
    path: str | Path,
    out: str | Path,
    to: str | None = None,
    options: ReadOptions = PLAIN,
    *,
    half: bool = False,
) -> Report:
    """Writes the model at `path` to `out` in another layout, beside and renamed; what was read.

    to: folder (of diffusers), single or inkdrop; by default what the name of `out` says: a name
    that ends in .safetensors is a single file, any other a folder of ours. half: all weights in
    float16; otherwise they stay as they are stored, to the bit, or where a network is stored in
    several types become the widest of them. ValueError if something is there.
    A control network goes from a folder of diffusers, which is what a folder's name means there, to
    a single file and back. A LoRA or an embedding, which is no model either, becomes safetensors
    with the names that it has.
    """
    out = Path(out)
    to = _checked(out, to)
    path, dtype = located(path), torch.float16 if half else None
    control = is_control(path, options)
    layout = to or ("folder" if control else "inkdrop")
    if control:
        if layout == "inkdrop":
            raise ValueError(
                f"{path} is a control network, of which there is no layout of inkdrop's own; give"
                " --to folder, or a name that ends in .safetensors"
            )
        network, report = open_control(path, options=options, dtype=dtype)
        (export_control_single if layout == "single" else export_control_folder)(network, out)
        return report
    if layout == "single" and without_pickle(path, out, options, half=half):
        return Report((), notes=("an adapter, which stays what it is",))
    model, report = open_checkpoint(path, options, dtype=dtype, text=False)
    write(model, out, layout)
    return report


def _checked(out: Path, to: str | None) -> str | None:
    """The layout that is asked for or that a name means; None for a folder of what it is for."""
    single = out.suffix == ".safetensors"
    layout = to or ("single" if single else None)
    if layout is not None:
        choose("layout", layout, dict.fromkeys(LAYOUTS))
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} is there already; give another name, or remove it")
    if (layout == "single") != single or out.suffix in FILES[1:]:
        what = "a single file" if layout == "single" else "a folder"
        raise ValueError(f"{out} is no name for {what}: single files, and they alone, end in"
                         " .safetensors")  # fmt: skip
    return layout


def write(model: Model, out: Path, layout: str) -> None:
    """The model with its text, in one of the layouts."""
    if layout == "inkdrop":
        model.save(out)
    elif layout == "single":
        export_single(model, out, text=single_text(model))
    else:
        with commit_folder(out) as beside:
            write_folder(model, beside, write_text_folders(model, beside))
