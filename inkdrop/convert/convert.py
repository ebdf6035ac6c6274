"""Conversion of whole models between our folders, those of diffusers and single files."""

from __future__ import annotations

from pathlib import Path

import torch

from inkdrop.config import choose
from inkdrop.convert.adapters import without_pickle
from inkdrop.convert.control import (
    export_control_folder,
    export_control_single,
    is_control,
    open_control,
)
from inkdrop.convert.export import export_single, write_folder
from inkdrop.convert.foreign import PLAIN, Options
from inkdrop.convert.open import open_model
from inkdrop.convert.report import Report
from inkdrop.convert.text_export import single_text, write_text_folders
from inkdrop.files import FILES, commit_folder
from inkdrop.model import Model

LAYOUTS = ("folder", "single", "inkdrop")


def convert(
    path: str | Path,
    out: str | Path,
    to: str | None = None,
    options: Options = PLAIN,
    *,
    half: bool = False,
) -> Report:
    """Writes the model at `path` to `out` in another layout, beside and renamed; what was read.

    to: folder (of diffusers), single or inkdrop; by default what the name of `out` says: a name
    that ends in .safetensors is a single file, any other a folder of ours. half: all weights in
    float16; otherwise they stay as they are stored, to the bit. ValueError if something is there.
    A control network goes from a folder of diffusers to a single file and back. A LoRA or an
    embedding, which is no model either, becomes safetensors with the names that it has.
    """
    out = Path(out)
    control = Path(path).exists() and is_control(Path(path), options)
    layout = to or _meant(out, control)
    choose("layout", layout, dict.fromkeys(LAYOUTS))
    if out.exists() or out.is_symlink():
        raise ValueError(f"{out} is there already; give another name, or remove it")
    if (layout == "single") != (out.suffix == ".safetensors") or out.suffix in FILES[1:]:
        what = "a single file" if layout == "single" else "a folder"
        raise ValueError(f"{out} is no name for {what}: single files, and they alone, end in"
                         " .safetensors")  # fmt: skip
    dtype = torch.float16 if half else None
    if control:
        if layout == "inkdrop":
            raise ValueError(
                f"{path} is a control network, of which there is no layout of inkdrop's own; give"
                " --to folder, or a name that ends in .safetensors"
            )
        network, report = open_control(path, options=options, dtype=dtype)
        (export_control_single if layout == "single" else export_control_folder)(network, out)
        return report
    if layout == "single" and without_pickle(Path(path), out, options, half=half):
        return Report((), notes=("an adapter, which stays what it is",))
    model, report = open_model(path, options, dtype=dtype, text=False)
    write(model, out, layout)
    return report


def _meant(out: Path, control: bool) -> str:
    """The layout that a name means."""
    if out.suffix == ".safetensors":
        return "single"
    return "folder" if control else "inkdrop"


def write(model: Model, out: Path, layout: str) -> None:
    """The model with its text, in one of the layouts."""
    if layout == "inkdrop":
        model.save(out)
    elif layout == "single":
        export_single(model, out, text=single_text(model))
    else:
        with commit_folder(out) as beside:
            write_folder(model, beside, write_text_folders(model, beside))
