"""Control networks at a path, of whatever family."""

from __future__ import annotations

from pathlib import Path

import torch

from inkdrop.convert.families import control_folder, controls_at
from inkdrop.convert.family import ReadControl
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.report import Report
from inkdrop.model import Model
from inkdrop.networks.control import ControlNet


def read_control(path: str | Path, options: ReadOptions = PLAIN) -> ReadControl:
    """A control network's headers and settings; ValueError in one line for anything else."""
    path = control_folder(path)
    found: ReadControl = controls_at(path, options).read(path, options)
    return found


def open_control(
    path: str | Path,
    model: Model | None = None,
    options: ReadOptions = PLAIN,
    *,
    dtype: torch.dtype | None = torch.float32,
) -> tuple[ControlNet, Report]:
    """The control network at a path, in evaluation mode, and the report of its weights.

    path: a file, a folder, or a whole pipeline's folder with one control network inside
    model: the one to control; ValueError before any weight is read if it is of another family.
    dtype: of all weights; None: what they are stored in, mapped.
    """
    path = control_folder(path)
    controls = controls_at(path, options)
    return controls.build(controls.read(path, options), model, dtype)
