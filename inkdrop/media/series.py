"""The medium of series: [C, L], one or more curves of L values each, stored as arrays."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.files import must_be_file
from inkdrop.media.medium import ARRAYS, PLAIN, Look, Span, write_array
from inkdrop.media.settings import settings_in
from inkdrop.media.sheet import save_image, sheet

if TYPE_CHECKING:
    from PIL.Image import Image

WIDTH, HEIGHT = 192, 96  # pixels of one sample on a sheet
FINER = 3  # curves are drawn at this multiple of the size and scaled down: antialiasing
ROOM = 0.06  # above and below the values -1 and 1, as a share of the height
INSET = 0.05  # left and right of the curves, as a share of the width
PAPER, RULE = (255, 255, 255), (214, 210, 203)
INKS = ((31, 58, 95), (178, 73, 43), (72, 118, 68), (128, 84, 138), (150, 120, 40), (60, 130, 140))


class Series:
    """Curves [C, L]; every channel of a sample has its own colour on a sheet."""

    name = "series"
    many = "series"
    suffixes: tuple[str, ...] = (".png", ".jpg", ".webp", *ARRAYS)
    settings_in: tuple[str, ...] = (".png", ".jpg", ".webp", ".npz")

    def read(self, path: Path, shape: tuple[int, ...], span: Span) -> Tensor:
        """An .npy or .npz of [C, L] or [1, C, L], or [L] for one channel; longer ones are cropped.

        The middle part is kept. `span` maps to [-1, 1]. ValueError for another shape or bad values.
        """
        found = _numbers(path)
        channels, length = shape
        values = found[None] if found.ndim == 1 else found
        if values.ndim == 3 and len(values) == 1:
            values = values[0]
        if values.ndim != 2 or values.shape[0] != channels or values.shape[1] < length:
            raise ValueError(
                f"{path} holds an array {list(found.shape)}, but the model takes"
                f" [{channels}, {length}] or longer; reshape or replace it"
            )
        first = (values.shape[1] - length) // 2
        low, high = span
        # In float64: values far from 0 would lose their small differences in float32.
        part = values[:, first : first + length].astype(np.float64)
        return torch.from_numpy((part - low) * (2 / (high - low)) - 1).float()

    def write(
        self, x: Tensor, path: Path, settings: Mapping[str, Any] | None, look: Look, span: Span
    ) -> None:
        """The values in their own units as an array, or a sheet of curves as a picture."""
        suffix = path.suffix.lower()
        if suffix in ARRAYS:
            write_array(x, path, settings, span)
        else:
            carried = settings if suffix in self.settings_in else None
            save_image(self.sheet(x, look), path, settings=carried)

    def sheet(self, x: Tensor, look: Look = PLAIN) -> Image:
        """A cell with the curves of each sample, from -1 at the bottom to 1 at the top."""
        if x.ndim != 3 or not len(x):
            raise ValueError(f"a sheet of series takes [B, C, L] with B > 0, not {list(x.shape)}")
        if not bool(torch.isfinite(x).all()):
            raise ValueError("a series with NaN or infinite values cannot be drawn; replace them")
        cells = torch.stack([_cell(sample) for sample in x.detach().float().cpu()])
        # Cells are twice as wide as high, so a near-square sheet has half as many columns as rows.
        return sheet(cells, columns=look.columns, pad=look.pad, scale=look.scale or 1)

    def describe(self, shape: tuple[int, ...]) -> str:
        """Such as "256 values" or "256 values in 3 channels"."""
        channels, length = shape
        return f"{length} values" + ("" if channels == 1 else f" in {channels} channels")

    def settings(self, path: Path) -> dict[str, Any]:
        """Settings from an .npz, or from a picture of curves."""
        return settings_in(path)


def _numbers(path: Path) -> NDArray[Any]:
    """The only array of an .npy or .npz; pickles are never loaded."""
    must_be_file(path, "series")
    try:
        with path.open("rb") as file:  # opened here, because np.load leaves a broken file open
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                values: NDArray[Any] | None = loaded
            else:
                arrays = {name: loaded[name] for name in loaded.files}
                names = [
                    n
                    for n, a in arrays.items()
                    if isinstance(a, np.ndarray) and a.dtype.kind in "fiub"
                ]
                values = loaded[names[0]] if len(names) == 1 else None
    except (
        OSError, ValueError, EOFError, KeyError, RuntimeError, NotImplementedError, BadZipFile,
        zlib.error,
    ):  # fmt: skip
        raise ValueError(
            f"{path} cannot be read as a series; save it again as an .npy with numpy.save"
        ) from None
    if values is None:
        raise ValueError(
            f"{path} holds {len(names)} arrays of numbers instead of one; save the series as .npy"
        )
    if values.dtype.kind not in "fiub":
        raise ValueError(f"{path} holds {values.dtype} instead of real numbers; convert it")
    if not np.isfinite(values).all():
        raise ValueError(f"{path} holds values that are NaN or infinite; replace them first")
    return values


def _cell(sample: Tensor) -> Tensor:
    """The curves of one sample [C, L] as a picture [3, HEIGHT, WIDTH] in [-1, 1]."""
    from PIL import Image, ImageDraw

    wide, high = WIDTH * FINER, HEIGHT * FINER
    picture = Image.new("RGB", (wide, high), PAPER)
    draw = ImageDraw.Draw(picture)
    left, right = wide * INSET, wide * (1 - INSET)
    draw.line([(left, high / 2), (right, high / 2)], fill=RULE, width=FINER)
    length = sample.shape[-1]
    across = torch.linspace(left, right, length) if length > 1 else torch.tensor([wide / 2])
    for channel, values in enumerate(sample):
        down = (0.5 - values.clamp(-1.2, 1.2) * (0.5 - ROOM)) * high
        points = list(zip(across.tolist(), down.tolist(), strict=True))
        ink = INKS[channel % len(INKS)]
        if length == 1:  # a single value cannot be a line
            draw.circle(points[0], 2 * FINER, fill=ink)
        draw.line(points, fill=ink, width=2 * FINER - 1, joint="curve")
    small = picture.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)
    pixels = torch.from_numpy(np.array(small)).permute(2, 0, 1)
    return pixels.float() / 127.5 - 1
