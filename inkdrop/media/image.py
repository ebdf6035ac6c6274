"""Picture files read by stated rules, whatever their format; `sheet.py` writes them."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.files import must_exist
from inkdrop.media.pixels import has_alpha, is_grey, pixels_of, reason_of, turn_of

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 80_000_000
MAX_PROFILE = 2**20  # bytes; Pillow opens no PNG with a larger one

# suffix -> Pillow's name; the formats that are read (by content, whatever the suffix) and written
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".avif": "AVIF",
    ".jp2": "JPEG2000",
}  # fmt: skip


@dataclass(frozen=True)
class PictureInfo:
    """What a header says: size in pixels once turned, channels 1 (grey) or 3, alpha or not."""

    width: int
    height: int
    channels: int
    alpha: bool


def is_picture(path: Path) -> bool:
    """True for a picture by its name, or a PNG by its first bytes; nothing is decoded."""
    if path.suffix.lower() in FORMATS:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG"


def picture_info(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> PictureInfo:
    """Size and kind of a picture from its header alone; the errors of `read_image`."""
    with _open(source, name or _name(source), max_pixels) as picture:
        width, height = picture.size
        if turn_of(picture) >= 5:
            width, height = height, width
        return PictureInfo(width, height, 1 if is_grey(picture) else 3, has_alpha(picture))


def read_image(
    source: Path | bytes,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    background: str = "white",
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """A picture file, or its bytes, as uint8 [H, W, C]; C is 1 if it is stored as grey, else 3.

    - Turned as its EXIF orientation says; of an animation the first frame.
    - Transparency is laid over `background` (a colour's name or #rrggbb), unless channels is 4.
    - 1-bit becomes 0 and 255; palettes, CMYK, YCbCr and LAB become RGB (a grey palette grey).
    - 16-bit grey is scaled by 255/65535, float grey within [0, 1] by 255; other float and 32-bit
      pictures run from their own minimum to their own maximum. Nothing is clipped.
    - `channels` 1, 3 or 4 asks for grey, RGB or RGBA whatever is stored.
    - `size`, a square's side or (height, width), scales with Lanczos until the picture covers it,
      by one factor in both directions, cropped to its centre.

    ValueError, in one sentence that names the file (`name` for bytes), if it is missing, empty, no
    picture, corrupt or truncated, or if its header claims more than max_pixels (nothing is
    decoded then). Pillow's settings are neither changed nor needed.
    """
    name = name or _name(source)
    with _open(source, name, max_pixels) as picture:
        if size is not None:  # lets JPEG decode at 1/2, 1/4 or 1/8; at least twice the size is left
            longest = size if isinstance(size, int) else max(size)  # it may lie on its side yet
            picture.draft(picture.mode, (2 * longest, 2 * longest))
        try:
            picture.load()
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
            said = f"{name} is corrupt or truncated ({reason_of(error)}), so copy or save it again"
            raise ValueError(said) from None
        return pixels_of(picture, name, size, channels, background)


def colour_profile(source: Path | bytes) -> bytes | None:
    """The ICC profile that says what red, green and blue of a picture mean; None for any other.

    Nothing that reads pixels here applies it: they are what is stored. ValueError for one that is
    larger than a PNG may hold for others to open it, and the errors of `read_image`.
    """
    name = _name(source)
    with _open(source, name, MAX_PIXELS) as picture:
        profile, mode = picture.info.get("icc_profile"), picture.mode
    if not isinstance(profile, bytes) or mode in ("CMYK", "LAB") or not _is_rgb_profile(profile):
        return None
    if len(profile) >= MAX_PROFILE:
        raise ValueError(
            f"the colour profile of {name} is {len(profile) / 2**20:.1f} MiB, and programs open"
            f" PNGs with one of up to {MAX_PROFILE / 2**20:.0f} MiB; convert the picture to sRGB"
        )
    return profile


def _is_rgb_profile(profile: bytes) -> bool:
    """True for a whole one, whose header says that it is for red, green and blue."""
    # ICC.1:2022, section 7.2: its length, the space of its data and the signature.
    length = int.from_bytes(profile[:4], "big")
    return length == len(profile) and profile[16:20] == b"RGB " and profile[36:40] == b"acsp"


def read_unit(path: str | Path, channels: int) -> Tensor:
    """A picture file as float32 [1, C, H, W] from 0 to 1, by the rules of `read_image`."""
    pixels = torch.from_numpy(read_image(Path(path), channels=channels))
    return pixels.permute(2, 0, 1)[None].float().div_(255)


def from_picture(
    picture: Image.Image, *, channels: int | None = None, background: str = "white"
) -> Tensor:
    """A Pillow picture as float32 [C, H, W] in [-1, 1], by the rules of `read_image`."""
    pixels = pixels_of(picture, "the picture", None, channels, background)
    return torch.from_numpy(pixels).permute(2, 0, 1).float().div_(127.5).sub_(1).contiguous()


def _name(source: Path | bytes) -> str:
    return "the picture" if isinstance(source, bytes) else str(source)


def _open(source: Path | bytes, name: str, max_pixels: int) -> Image.Image:
    """The header of a picture; nothing is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    Image.init()
    if not isinstance(source, bytes):
        must_exist(source, "picture")
        if source.is_dir():
            raise ValueError(f"{name} is a folder, so name a picture in it")
    kinds = sorted({kind for kind in FORMATS.values() if kind in Image.OPEN})
    limit = ValueError(
        f"{name} claims in its header to hold more than {max_pixels / 1e6:g} megapixels,"
        " so it is not decoded; scale it down first"
    )
    try:
        file = BytesIO(source) if isinstance(source, bytes) else source
        picture = Image.open(file, formats=kinds)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise limit from None
    except UnidentifiedImageError:
        raise ValueError(_unknown(source, name)) from None
    except (OSError, ValueError, SyntaxError, struct.error, EOFError) as error:
        reason = getattr(error, "strerror", None)  # set if the system refused, not the decoder
        why = (
            f"cannot be read: {reason}"
            if reason
            else f"has a corrupt header ({reason_of(error)}), so copy or save it again"
        )
        raise ValueError(f"{name} {why}") from None
    if picture.width * picture.height > max_pixels:
        picture.close()
        raise limit
    return picture


def _unknown(source: Path | bytes, name: str) -> str:
    length = len(source) if isinstance(source, bytes) else source.stat().st_size
    if length == 0:
        return f"{name} is empty (0 bytes), so copy or save it again"
    return (
        f"{name} is no picture, whatever its name says (it begins like no known format), so save it"
        " as PNG or JPEG"
    )
