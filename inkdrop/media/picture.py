"""The medium of pictures: [C, H, W], C = 1 grey, 3 RGB, 4 RGBA, or any number of bands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from inkdrop.media.image import read_image
from inkdrop.media.medium import ARRAYS, PLAIN, Look, Span, write_array
from inkdrop.media.pixels import MODES
from inkdrop.media.settings import settings_in
from inkdrop.media.sheet import save_image, sheet

if TYPE_CHECKING:
    from PIL.Image import Image

SEEN = 96  # pixels; narrower pictures are enlarged to about this width
KINDS = {1: "grey", 3: "RGB", 4: "RGBA"}


class Picture:
    """Pictures [C, H, W], read by the rules of `media.image.read_image`."""

    name = "picture"
    many = "pictures"
    suffixes: tuple[str, ...] = (
        ".png",
        ".jpg",
        ".jpeg",
        ".webp",
        ".gif",
        ".bmp",
        ".tif",
        ".tiff",
        *ARRAYS,
    )
    settings_in: tuple[str, ...] = (".png", ".jpg", ".jpeg", ".webp", ".npz")

    def read(self, path: Path, shape: tuple[int, ...], span: Span) -> Tensor:
        """A picture file as training reads it: in sRGB, scaled to cover the shape, and cropped."""
        channels, height, width = shape
        if channels not in MODES:
            raise ValueError(
                f"{path} cannot be read for a model of {channels} channels; use a model of 1, 3 or"
                " 4 channels"
            )
        pixels = read_image(path, size=(height, width), channels=channels, srgb=True)
        return torch.from_numpy(pixels.copy()).permute(2, 0, 1).float() / 127.5 - 1

    def write(
        self, x: Tensor, path: Path, settings: Mapping[str, Any] | None, look: Look, span: Span
    ) -> None:
        """One picture, a sheet of several, or an array of the values themselves."""
        suffix = path.suffix.lower()
        if suffix in ARRAYS:
            write_array(x, path, settings, span)
            return
        carried = settings if suffix in self.settings_in else None
        profile = look.profile if x.shape[1] > 1 else None
        save_image(self.sheet(x, look), path, settings=carried, profile=profile)

    def sheet(self, x: Tensor, look: Look = PLAIN) -> Image:
        """Pictures row by row; one with 2 or over 4 channels is drawn as a row of grey bands."""
        if x.ndim == 4 and x.shape[1] not in MODES:
            x = torch.cat(list(torch.split(x, 1, dim=1)), dim=3)
        scale = look.scale or max(1, SEEN // x.shape[-1])
        pad = 0 if len(x) == 1 else look.pad
        return sheet(x, columns=look.columns, pad=pad, scale=scale)

    def describe(self, shape: tuple[int, ...]) -> str:
        """Such as "28x28 grey"."""
        channels, height, width = shape
        return f"{width}x{height} {KINDS.get(channels, f'{channels} channels')}"

    def settings(self, path: Path) -> dict[str, Any]:
        """Settings from a picture or an .npz."""
        return settings_in(path)
