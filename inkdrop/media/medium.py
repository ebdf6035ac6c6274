"""The interface of a medium: how one kind of data is read, written, shown and described.

To add one, add a file beside this one and a line to `MEDIA` in `registry.py`. Data sets, previews
and output files all go through these methods; no other code depends on the kind of data.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from zipfile import BadZipFile, ZipFile

import numpy as np
from torch import Tensor

from inkdrop.config import choose
from inkdrop.files import check_file, must_be_file, replacing

if TYPE_CHECKING:
    from PIL.Image import Image

Span = tuple[float, float]  # the values, in a file's own units, that map to -1 and 1
UNIT: Span = (-1.0, 1.0)
FINEST = 1 << 14  # steps of a span that the numbers in a file must be able to tell apart
LONGEST = 1 << 24  # bytes of the settings in an .npz
ARRAYS = (".npy", ".npz")  # every medium writes these: [N, C, *sizes], in the data's own units


@dataclass(frozen=True)
class Look:
    """The layout of several samples on one sheet.

    columns: None is near square; scale: whole number to enlarge each by (None: large enough to see)
    pad: white pixels between samples; profile: the ICC profile of their colours
    alpha: whether the samples have an alpha channel that the model's do not have
    """

    columns: int | None = None
    scale: int | None = None
    pad: int = 2
    profile: bytes | None = None
    alpha: bool = False


PLAIN = Look()


class Medium(Protocol):
    """One kind of data: samples [C, *sizes] in [-1, 1], and the files they come in.

    name: as in model.json; many: the plural, for messages; suffixes: those of the files it writes,
    the default first; settings_in: those of them that can carry settings
    """

    name: str
    many: str
    suffixes: tuple[str, ...]
    settings_in: tuple[str, ...]

    def read(self, path: Path, shape: tuple[int, ...], span: Span) -> Tensor:
        """A file as a sample [C, *sizes] of this shape; ValueError if it cannot be one."""
        ...

    def write(
        self, x: Tensor, path: Path, settings: Mapping[str, Any] | None, look: Look, span: Span
    ) -> None:
        """Writes samples [B, C, *sizes] to one file, atomically; its suffix sets the format."""
        ...

    def sheet(self, x: Tensor, look: Look = PLAIN) -> Image:
        """Samples [B, C, *sizes] side by side, as one picture."""
        ...

    def describe(self, shape: tuple[int, ...]) -> str:
        """A shape [C, *sizes] for people, such as "28x28 grey"."""
        ...

    def settings(self, path: Path) -> dict[str, Any]:
        """The settings inside a written file; ValueError if it has none."""
        ...


def check_output(medium: Medium, path: Path) -> None:
    """ValueError or OSError, before any work, for a path that this medium could not write."""
    check_file(path)
    choose(f"format of {medium.many}", path.suffix.lower(), dict.fromkeys(medium.suffixes))


def write_array(x: Tensor, path: Path, settings: Mapping[str, Any] | None, span: Span) -> None:
    """Samples in their own units: an .npy, or an .npz that also carries settings.

    float32, or float64 if float32 cannot tell the values of the span apart.
    """
    values, (low, high) = x.detach().float().cpu().numpy(), span
    if span != UNIT:
        scaled = (values.astype(np.float64) + 1) * ((high - low) / 2) + low
        values = scaled.astype(np.float32) if _fits_float32(span) else scaled
    with replacing(path) as beside, beside.open("wb") as file:
        if path.suffix.lower() == ".npy":
            np.save(file, values)
        else:
            carried: dict[str, Any] = {"samples": values}
            if settings is not None:
                carried["settings"] = np.array(json.dumps(dict(settings)))
            np.savez(file, **carried)


def _fits_float32(span: Span) -> bool:
    """Whether float32 divides a span into at least FINEST steps."""
    low, high = span
    largest = max(abs(low), abs(high))
    limits = np.finfo(np.float32)
    if not float(limits.tiny) * FINEST <= high - low or largest > float(limits.max):
        return False
    return float(np.spacing(np.float32(largest))) * FINEST <= high - low


def array_settings(path: Path) -> dict[str, Any]:
    """The settings in an .npz written by `write_array`; ValueError if there are none."""
    must_be_file(path, "array")
    try:
        with path.open("rb") as file:  # opened here, because np.load leaves a broken file open
            with ZipFile(file) as archive:  # a small file may unpack to gigabytes
                if archive.getinfo("settings.npy").file_size > LONGEST:
                    raise ValueError("too long")
            file.seek(0)
            settings = json.loads(str(np.load(file, allow_pickle=False)["settings"]))
        if not isinstance(settings, dict):
            raise TypeError("settings are a JSON object")
        return settings
    except (
        LookupError, OSError, ValueError, EOFError, TypeError, RecursionError, RuntimeError,
        NotImplementedError, BadZipFile, MemoryError, zlib.error,
    ):  # fmt: skip
        raise ValueError(f"{path} holds no settings; use the .npz as inkdrop saved it") from None
