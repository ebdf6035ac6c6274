"""Writing pictures: single ones, sheets of several, and animations."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from inkdrop.config import choose
from inkdrop.files import replacing
from inkdrop.media.image import FORMATS
from inkdrop.media.pixels import MODES
from inkdrop.media.settings import CARRIERS, carried

if TYPE_CHECKING:
    from PIL import Image

LARGEST = 1 << 28  # pixels of a sheet, which takes up to 16 bytes for each
ANIMATED = {".webp": "WEBP", ".gif": "GIF", ".apng": "PNG", ".png": "PNG"}
_OPTIONS: dict[str, dict[str, Any]] = {
    "WEBP": {"lossless": True, "exact": True},
    "JPEG": {"quality": 95},
}


def to_picture(x: Tensor) -> Image.Image:
    """[C, H, W], clamped to [-1, 1], as 8-bit grey (C=1), RGB (3) or RGBA (4).

    ValueError for other channels or for NaN and infinite values.
    """
    from PIL import Image

    if x.ndim != 3 or x.shape[0] not in MODES:
        raise ValueError(
            f"a picture is [1, 3 or 4 channels, height, width], not {list(x.shape)};"
            " choose the channels to show first, such as x[:3]"
        )
    x = x.detach().float().cpu()
    if not bool(torch.isfinite(x).all()):
        raise ValueError("a picture with NaN or infinite values cannot be written; replace them")
    pixels = x.clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8).permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(pixels[..., 0] if x.shape[0] == 1 else pixels))


def sheet(x: Tensor, *, columns: int | None = None, pad: int = 2, scale: int = 1) -> Image.Image:
    """[B, C, H, W] in [-1, 1] as one picture, row by row; near square unless `columns` is given.

    pad: white pixels between cells; scale: whole number to enlarge each cell by. ValueError for
    another shape or numbers out of range.
    """
    if x.ndim != 4 or x.shape[0] == 0:
        raise ValueError(f"a sheet takes [B, C, H, W] with B > 0, not {list(x.shape)}")
    if scale < 1 or pad < 0 or (columns is not None and columns < 1):
        raise ValueError(
            f"a sheet needs columns >= 1, pad >= 0 and scale >= 1, not {columns}, {pad}, {scale}"
        )
    count, channels, height, width = x.shape[0], x.shape[1], x.shape[2] * scale, x.shape[3] * scale
    columns = min(count, columns or math.ceil(math.sqrt(count * height / width)))
    rows = math.ceil(count / columns)
    high, wide = rows * (height + pad) - pad, columns * (width + pad) - pad
    if high * wide > LARGEST:
        raise ValueError(
            f"a sheet of {count} would have {wide}x{high} pixels, above {LARGEST:,}; choose fewer,"
            " a smaller scale, or an .npz"
        )
    cells = x.detach().float().cpu()
    cells = cells.repeat_interleave(scale, dim=2).repeat_interleave(scale, dim=3)
    canvas = torch.ones(channels, high, wide)
    for i, cell in enumerate(cells):
        top, left = i // columns * (height + pad), i % columns * (width + pad)
        canvas[:, top : top + height, left : left + width] = cell
    return to_picture(canvas)


def strip(x: Tensor, *, pad: int = 2, scale: int = 1) -> Image.Image:
    """[B, C, H, W] in [-1, 1] side by side in one row."""
    return sheet(x, columns=max(1, x.shape[0]), pad=pad, scale=scale)


def save_image(
    picture: Image.Image,
    path: str | Path,
    settings: Mapping[str, Any] | None = None,
    *,
    profile: bytes | None = None,
) -> None:
    """Write a picture atomically; the suffix sets the format (WebP is lossless).

    settings: names with JSON values, kept inside a .png, .jpg or .webp for `read_settings`. Prompt,
    negative, steps, sampler, guidance, seed and model are also written as other programs read them.
    profile: an ICC profile, as from `colour_profile`. ValueError for an unknown format, or one that
    cannot hold settings or transparency.
    """
    path = Path(path)
    kind = choose("picture format", path.suffix.lower(), FORMATS)
    if kind == "JPEG" and picture.has_transparency_data:
        raise ValueError(f"{path.name} cannot hold transparency; use .png or .webp")
    if settings is not None and kind not in CARRIERS:
        raise ValueError(f"{path.name} cannot carry settings; use .png, or leave them out")
    inside = carried(kind, settings, *picture.size)
    meant = {} if profile is None else {"icc_profile": profile}
    _write(path, [picture], kind, _OPTIONS.get(kind, {}) | inside | meant)


def save_animation(
    frames: Sequence[Image.Image],
    path: str | Path,
    fps: float = 12,
    settings: Mapping[str, Any] | None = None,
) -> None:
    """Write a looping animation: lossless .webp, .apng or .png, or .gif with 256 colours a frame.

    settings: as for `save_image`, inside all but a .gif, which holds none
    fps: frames a second, above 0. Equal consecutive frames may be stored as one longer frame.
    ValueError for frames of different sizes, or none.
    """
    path = Path(path)
    kind = choose("animation format", path.suffix.lower(), ANIMATED)
    if not frames or len({frame.size for frame in frames}) > 1:
        raise ValueError(f"{path.name} needs at least one frame, all of the same size")
    if not fps > 0:
        raise ValueError(f"fps is {fps}: it must be above 0 frames a second")
    timing = {"save_all": True, "duration": round(1000 / fps), "loop": 0}
    inside = carried(kind, settings if kind in CARRIERS else None, *frames[0].size)
    _write(path, frames, kind, timing | _OPTIONS.get(kind, {}) | inside)


def _write(
    path: Path, frames: Sequence[Image.Image], kind: str, options: Mapping[str, Any]
) -> None:
    memory = BytesIO()  # encoders hide why a write failed, so they write to memory first
    extra = {"append_images": frames[1:]} if len(frames) > 1 else {}
    frames[0].save(memory, kind, **options, **extra)
    content = memory.getvalue()
    with replacing(path, needs=len(content)) as part:
        part.write_bytes(content)
