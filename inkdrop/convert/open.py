"""Any checkpoint opened as a Model: a path to ours or another's, or a name on the Hub."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import nn

from inkdrop import box
from inkdrop.convert.autoencoder import folder_of
from inkdrop.convert.families import family_at
from inkdrop.convert.files.layout import is_own
from inkdrop.convert.files.options import PLAIN, ReadOptions
from inkdrop.convert.files.report import PartReport, Report
from inkdrop.convert.files.stored import types_of
from inkdrop.files import HUB, hub_hint, hub_name, must_exist
from inkdrop.model import Model

# What is fetched of a repository: weights that run no code, settings and vocabularies.
FETCHED = ("*.safetensors", "*.json", "*.txt")


def open_checkpoint(
    path: str | Path,
    options: ReadOptions = PLAIN,
    *,
    dtype: torch.dtype | None = torch.float32,
    text: bool = True,
    autoencoder: str | Path | None = None,
) -> tuple[Model, Report]:
    """The model in a checkpoint, with its text encoders, and the report of every weight.

    path: a Model folder, a diffusers folder, a single file, or a name on the Hub, "hf:org/name"
    dtype: of all weights; None: what they are stored in, mapped
    text: whether a checkpoint without text encoders is an error
    autoencoder: a file or folder of another program, for a checkpoint without one
    ValueError in one line for anything else, before any weight is read where possible.
    """
    path = located(path)
    if is_own(path):
        options.check(path, "a model of inkdrop's own", ())
        model = Model.load(path, dtype=dtype)
        return model, Report(tuple(_own_parts(model)))
    family = family_at(path, options)
    foreign = family.read(path, options)
    lends = autoencoder is not None and family.headers(foreign).autoencoder is None
    if lends and family.coders is not None and not is_own(place := Path(str(autoencoder))):
        foreign = family.coders.lend(foreign, family.read(folder_of(place), options))
    return family.build(foreign, dtype, text)


def located(path: str | Path, what: str = "model", *, fetch: bool = True) -> Path:
    """The path itself, or where the files of a Hub name are once they are fetched.

    fetch: False uses no network: the Hub's model must have been fetched before
    """
    name = hub_name(path)
    if name is not None:
        return _fetched(name, fetch)
    hint = "" if Path(path).exists() else hub_hint(path)
    if not hint:
        return must_exist(path, what, box.names())
    raise ValueError(f"there is no {what} {path} here.{hint}")


def _fetched(name: str, fetch: bool) -> Path:
    """The folder of a repository in the usual cache, downloaded from the Hub if necessary."""
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"there is no model {name} here, and fetching it from the Hub needs huggingface_hub;"
            " install it with: pip install huggingface_hub"
        ) from None
    try:
        return Path(
            snapshot_download(name, allow_patterns=list(FETCHED), local_files_only=not fetch)
        )
    except Exception as error:  # whatever the library, its client and the network raise
        if not fetch:
            raise ValueError(
                f"the file asks for the model {name} of the Hub, which is not on this machine; to"
                f" fetch it, say so with --model {HUB}{name}"
            ) from None
        why = str(error).strip().split("\n")[0][:160] or type(error).__name__
        offline = os.environ.get("HF_HUB_OFFLINE", "") not in ("", "0")
        reason = "HF_HUB_OFFLINE forbids the network" if offline else why
        raise ValueError(
            f"there is no model {name} here, and it could not be fetched from the Hub ({reason});"
            " give a path, or try the name again with a network"
        ) from None


def _own_parts(model: Model) -> list[PartReport]:
    """The networks of a Model folder."""
    texts = () if model.text is None else model.text.networks
    named = [("network", model.network), ("codec", model.codec)]
    named += [(f"text {number}", network) for number, network in enumerate(texts, 1)]
    return [_counted(name, part) for name, part in named if isinstance(part, nn.Module)]


def _counted(name: str, network: nn.Module) -> PartReport:
    values = list(network.state_dict().values())
    return PartReport(name, len(values), sum(v.numel() for v in values), types_of(values))
