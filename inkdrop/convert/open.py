"""Whatever holds a whole model, opened: ours, a diffusers folder, a single file, a Hub name."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import torch
from torch import nn

from inkdrop.convert.files.layout import layout_of_folder
from inkdrop.convert.files.report import PartReport, Report
from inkdrop.convert.files.stored import types_of
from inkdrop.convert.sd.foreign import PLAIN, Foreign, ReadOptions
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.text import to_text
from inkdrop.files import is_hub_name, must_exist
from inkdrop.model import Model

# What is fetched of a repository: weights that run no code, settings and words.
FETCHED = ("*.safetensors", "*.json", "*.txt")


def open_checkpoint(
    path: str | Path,
    options: ReadOptions = PLAIN,
    *,
    dtype: torch.dtype | None = torch.float32,
    text: bool = True,
) -> tuple[Model, Report]:
    """The model with its text, and what became of every weight.

    path: a Model folder of ours, a diffusers folder or a single file, or where nothing is there a
    name on the Hub, "org/name". dtype: of all weights; None: what they are stored in, mapped.
    text: whether it must have one
    ValueError in one line for anything else, before any weight is read where that can be.
    """
    path = located(path)
    if path.is_dir() and layout_of_folder(path) == "inkdrop":
        options.check(path, "a model of inkdrop's own", ())
        model = Model.load(path, dtype=dtype)
        return model, Report(tuple(_of_own(model)))
    return _whole(read(path, options), dtype, text)


def _whole(foreign: Foreign, dtype: torch.dtype | None, text_needed: bool) -> tuple[Model, Report]:
    """A foreign checkpoint with its text, if it has one."""
    model, report = to_model(foreign, dtype=dtype)
    if not foreign.text and not text_needed:
        return model, dataclasses.replace(report, notes=(*report.notes, "there is no text encoder"))
    text, parts = to_text(foreign, dtype=dtype)
    model = dataclasses.replace(model, text=text).sized(*model.spec.shape[1:])
    return model, dataclasses.replace(report, parts=(*report.parts, *parts), text=())


def located(path: str | Path, what: str = "model") -> Path:
    """The path, or where the files of a Hub name are once they are fetched."""
    if Path(path).exists() or not is_hub_name(path):
        return must_exist(path, what)
    return _fetched(str(path))


def _fetched(name: str) -> Path:
    """The folder of a repository in the usual cache, from which or from the Hub it comes."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"there is no model {name} here, and to fetch one of this name from the Hub needs"
            " huggingface_hub; install it with: pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=list(FETCHED)))
    except Exception as error:  # whatever the library, its client and the network raise
        why = str(error).strip().split("\n")[0][:160] or type(error).__name__
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        reason = "HF_HUB_OFFLINE forbids the network" if offline else why
        raise ValueError(
            f"there is no model {name} here, and it could not be fetched from the Hub ({reason});"
            " give a path, or the name again with a network"
        ) from None


def _of_own(model: Model) -> list[PartReport]:
    """The networks of a model of ours."""
    texts = () if model.text is None else model.text.networks
    named = [("network", model.network), ("codec", model.codec)]
    named += [(f"text {number}", network) for number, network in enumerate(texts, 1)]
    return [_counted(name, part) for name, part in named if isinstance(part, nn.Module)]


def _counted(name: str, network: nn.Module) -> PartReport:
    values = list(network.state_dict().values())
    return PartReport(name, len(values), sum(v.numel() for v in values), types_of(values))
