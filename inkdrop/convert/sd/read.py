"""A checkpoint of Stable Diffusion in any layout, opened: only headers and settings are read."""

from __future__ import annotations

from pathlib import Path

from inkdrop.convert.files.layout import layout_of_folder
from inkdrop.convert.files.options import PLAIN, SCHEDULE_OPTIONS, ReadOptions
from inkdrop.convert.sd.folder import read_folder, read_part
from inkdrop.convert.sd.foreign import Foreign
from inkdrop.convert.sd.single import read_single


def read(path: str | Path, options: ReadOptions = PLAIN) -> Foreign:
    """What a diffusers folder or a single file holds; ValueError in one line if it is broken.

    Weights are mapped when they are used; nothing in the files is ever executed.
    """
    path = Path(path)
    if not path.is_dir():
        return read_single(path, options)
    options.check(path, "a folder", {*SCHEDULE_OPTIONS, "variant"})
    return (read_folder if layout_of_folder(path) == "folder" else read_part)(path, options)
