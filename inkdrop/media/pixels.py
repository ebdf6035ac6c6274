"""A decoded picture as 8-bit pixels: rotated, resized and flattened as `read_image` documents."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from inkdrop.config import nearest
from inkdrop.media.colour import as_srgb

if TYPE_CHECKING:
    from PIL import Image

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


def turn_of(picture: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 if there is none or it cannot be read."""
    try:
        turn = int(picture.getexif().get(0x0112, 1))
    except Exception:  # broken EXIF data must not make the picture unreadable
        return 1
    return turn if 1 <= turn <= 8 else 1


def _turned(picture: Image.Image, turn: int) -> Image.Image:
    from PIL.Image import Transpose as How

    ways = {
        2: How.FLIP_LEFT_RIGHT, 3: How.ROTATE_180, 4: How.FLIP_TOP_BOTTOM, 5: How.TRANSPOSE,
        6: How.ROTATE_270, 7: How.TRANSVERSE, 8: How.ROTATE_90,
    }  # fmt: skip
    return picture.transpose(ways[turn]) if turn in ways else picture


def _is_deep(picture: Image.Image) -> bool:
    return picture.mode in ("I", "F") or picture.mode.startswith("I;16")


def is_deeper(picture: Image.Image) -> bool:
    """Whether its file has more than 8 bits a channel; the header is enough."""
    stored = [str(tile[3]) for tile in getattr(picture, "tile", ())]  # such as "RGB;16B"
    return _is_deep(picture) or any(";16" in each for each in stored)


def has_frames(picture: Image.Image) -> bool:
    """Whether its file has several frames or pages; an MPO's others are previews of the first."""
    try:
        return picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
    except Exception:  # what is damaged behind the first frame does not matter
        return False


def has_alpha(picture: Image.Image) -> bool:
    return picture.has_transparency_data and not _is_deep(picture)


def is_grey(picture: Image.Image) -> bool:
    """True if it is stored as grey, by its mode or an all-grey palette; pixels do not count."""
    if picture.mode in ("P", "PA"):
        colours = np.asarray(picture.getpalette() or [], np.uint8).reshape(-1, 3)
        return bool((colours == colours[:, :1]).all())
    return picture.mode in ("1", "L", "LA", "La") or _is_deep(picture)


def pixels_of(
    picture: Image.Image,
    name: str,
    size: int | tuple[int, int] | None,
    channels: int | None,
    background: str,
    srgb: bool = False,
) -> NDArray[np.uint8]:
    """A decoded picture as uint8 [H, W, C], by the rules of `read_image`."""
    if channels is not None and channels not in MODES:
        raise ValueError(f"channels is {channels}: a picture has 1, 3 or 4")
    colour = parse_colour(background)
    try:
        turn, deep = turn_of(picture), _is_sixteen(picture)
        picture = as_srgb(picture) if srgb else picture
        plain = _fitted(_turned(_plain(picture, name, deep), turn), size)
        if channels != 4:
            plain = _flat(plain, colour)
        plain = plain if channels is None else plain.convert(MODES[channels])
    except (OSError, SyntaxError, struct.error) as error:
        raise ValueError(
            f"{name} cannot be converted ({reason_of(error)}); save it as PNG or JPEG"
        ) from None
    pixels = np.array(plain, np.uint8)
    return pixels[..., None] if pixels.ndim == 2 else pixels


def _is_sixteen(picture: Image.Image) -> bool:
    """True if values run from 0 to 65535; "I" holds 16 bits too, in formats that have no 32."""
    if picture.mode.startswith("I;16"):
        return True
    return picture.mode == "I" and picture.format in ("PNG", "PPM", "JPEG2000")


def _plain(picture: Image.Image, name: str, sixteen: bool) -> Image.Image:
    """The same picture with 8 bits per channel: L, LA, RGB or RGBA."""
    if _is_deep(picture):
        return _shallow(picture, name, sixteen)
    mode = ("L" if is_grey(picture) else "RGB") + ("A" if has_alpha(picture) else "")
    return picture if picture.mode == mode else picture.convert(mode)


def _shallow(picture: Image.Image, name: str, sixteen: bool) -> Image.Image:
    from PIL import Image

    values = np.asarray(picture).astype(np.float64)
    if not np.isfinite(values).all():
        raise ValueError(f"{name} holds values that are NaN or infinite; replace them first")
    low, high = values.min(), values.max()
    if sixteen or (picture.mode == "F" and low >= 0 and high <= 1):
        low, high = 0.0, 65535.0 if sixteen else 1.0
    scaled = (values - low) * (255 / max(high - low, 1e-300))
    return Image.fromarray(np.rint(scaled).astype(np.uint8))


def _fitted(picture: Image.Image, size: int | tuple[int, int] | None) -> Image.Image:
    from PIL.Image import Resampling

    if size is None:
        return picture
    height, width = (size, size) if isinstance(size, int) else size
    if picture.size == (width, height):
        return picture
    across = min(picture.width, picture.height * width / height)
    down = min(picture.height, picture.width * height / width)
    left, top = (picture.width - across) / 2, (picture.height - down) / 2
    box = (left, top, left + across, top + down)
    return picture.resize((width, height), Resampling.LANCZOS, box)  # premultiplies alpha


def parse_colour(colour: str) -> tuple[int, int, int]:
    """(red, green, blue) in 0 ... 255 from a colour name or #rrggbb; ValueError suggests a name."""
    from PIL import ImageColor

    try:
        red, green, blue = ImageColor.getrgb(colour)[:3]
    except ValueError:
        hint = nearest(colour, ImageColor.colormap)
        raise ValueError(f"there is no colour {colour!r}; give a name or #rrggbb.{hint}") from None
    return red, green, blue


def _flat(picture: Image.Image, colour: tuple[int, int, int]) -> Image.Image:
    """Transparency composited over a colour; grey stays grey if the colour is a grey."""
    from PIL import Image

    if not picture.mode.endswith("A"):
        return picture
    canvas = Image.new("RGBA", picture.size, (*colour, 255))
    canvas.alpha_composite(picture.convert("RGBA"))
    grey = picture.mode == "LA" and len(set(colour)) == 1
    return canvas.convert("L" if grey else "RGB")


def reason_of(error: Exception) -> str:
    """A decoder's error message in one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
