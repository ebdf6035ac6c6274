"""A foreign checkpoint of any layout, opened: nothing but headers and settings is read yet."""

from __future__ import annotations

from pathlib import Path

from inkdrop.convert.files.layout import ADAPTERS, is_control_folder, layout_of_folder
from inkdrop.convert.sd.folder import read_folder, read_part
from inkdrop.convert.sd.foreign import PLAIN, SAID, Foreign, ReadOptions
from inkdrop.convert.sd.single import read_single
from inkdrop.files import must_exist


def read(path: str | Path, options: ReadOptions = PLAIN) -> Foreign:
    """What a folder of diffusers or a single file holds; ValueError in one line for anything else.

    Weights are mapped when they are used; nothing of the file is ever executed.
    """
    path = must_exist(path, "model")
    if not path.is_dir():
        return read_single(path, options)
    layout = layout_of_folder(path)
    if is_control_folder(path):
        raise ValueError(f"{path} is {ADAPTERS['control']}")
    if layout == "inkdrop":
        raise ValueError(f"{path} is a model of inkdrop's own and needs no conversion")
    if layout in ADAPTERS:
        raise ValueError(f"{path} is {ADAPTERS[layout]}")
    options.check(path, "a folder", {*SAID, "variant"})
    return read_folder(path, options) if layout == "folder" else read_part(path, options)
