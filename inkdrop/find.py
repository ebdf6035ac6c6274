"""Finds and opens a model by any kind of name; everything else goes through here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import torch

from inkdrop import box, folder
from inkdrop.convert.families import marked
from inkdrop.convert.open import located, open_checkpoint
from inkdrop.device import pick_device
from inkdrop.digest import files_below, fingerprint
from inkdrop.files import standing
from inkdrop.model import Model
from inkdrop.runs import own_folder
from inkdrop.weights import make_computable


@dataclass(frozen=True)
class Found:
    """Where a model is: an inkdrop model folder, or a checkpoint from another program.

    name: as given by the user
    path: the model folder, or the checkpoint's folder or file
    own: whether it is an inkdrop model folder
    notes: sentences about damaged checkpoints that were skipped
    """

    name: str
    path: Path
    own: bool
    notes: tuple[str, ...] = ()

    @property
    def weights(self) -> str:
        """16 hexadecimal digits that identify these weights and settings."""
        files = [self.path] if self.path.is_file() else files_below(self.path)
        stats = ((file, file.stat()) for file in files)
        seen = tuple((str(file), stat.st_size, stat.st_mtime_ns) for file, stat in stats)
        return _fingerprint(self.path, seen)


@lru_cache(maxsize=16)  # read gigabytes only once per process; `seen` changes with the files
def _fingerprint(path: Path, seen: tuple[tuple[str, int, int], ...]) -> str:
    return fingerprint(path)


def find(name: str | Path, *, fetch: bool = True) -> Found:
    """Finds a model by name: a run, a model folder, a checkpoint, a bundled model or a Hub name.

    A checkpoint is a diffusers folder or a single file. A Hub name, "hf:org/name", is downloaded;
    no other name contacts the Hub. fetch: False uses no network at all, for a name that was read
    from a file. ValueError if there is no such model.
    """
    text = str(name)
    path = standing(box.find(text) or Path(text))
    if path.is_dir() and _is_own(path):
        where, notes = own_folder(path)
        return Found(text, where, own=True, notes=tuple(notes))
    return Found(text, located(path, "model folder or run", fetch=fetch), own=False)


@contextmanager
def still_there(found: Found) -> Iterator[None]:
    """Says so if what was found fails to open because its training has deleted it meanwhile."""
    try:
        yield
    except (ValueError, OSError):
        if found.path.exists():
            raise
        raise ValueError(
            f"the training of {found.name} has replaced the checkpoint {found.path.parent.name}"
            " while it was opened; run the same command again"
        ) from None


def _is_own(path: Path) -> bool:
    """Whether a folder is inkdrop's: a model folder, a run, or a folder without any weights.

    The last kind counts so that `own_folder` can reject it with a clear error.
    """
    if (path / folder.NAME).is_file() or (path / "checkpoints").is_dir():
        return True
    return marked(path) is None and not any(path.glob("*.safetensors"))


def open_model(
    name: str | Path | Found,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
) -> Model:
    """Opens a model by name (see `find`) with its text encoder, ready for sampling.

    device: by default a GPU if there is one
    dtype: of all weights; None keeps the stored one, or for fp8 float16 and for float64 float32

    ValueError if anything is wrong with it, where possible before any weights are read.
    """
    return open_with_notes(name, device=device, dtype=dtype)[0]


def open_with_notes(
    name: str | Path | Found,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = torch.float32,
    autoencoder: str | None = None,
) -> tuple[Model, tuple[str, ...]]:
    """Like `open_model`, and also returns sentences about what had to be assumed or skipped.

    autoencoder: for a checkpoint of another program that has none
    """
    found = name if isinstance(name, Found) else find(name)
    where = pick_device(None if device is None else str(device))
    if found.own:
        with still_there(found):
            model, notes = Model.load(found.path, dtype=dtype), found.notes
    else:
        model, report = open_checkpoint(found.path, dtype=dtype, autoencoder=autoencoder)
        notes = (*found.notes, *report.notes)
    if dtype is None:
        for network in model.networks:
            make_computable(network)
    return model.to(where), notes
