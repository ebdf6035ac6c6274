"""Picture files of any format, read by documented rules; `sheet.py` writes them."""

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

from inkdrop.files import must_be_file
from inkdrop.media.colour import Profile, profile_of
from inkdrop.media.pixels import (
    has_alpha,
    has_frames,
    is_deeper,
    is_grey,
    pixels_of,
    reason_of,
    turn_of,
)

if TYPE_CHECKING:
    from PIL import Image

MAX_PIXELS = 80_000_000
MAX_PROFILE = 2**20  # bytes; Pillow refuses to open a PNG with a larger one

# suffix -> Pillow's name of each format; files are read by content, and written by suffix
FORMATS = {
    ".png": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG", ".webp": "WEBP", ".gif": "GIF", ".bmp": "BMP",
    ".tif": "TIFF", ".tiff": "TIFF", ".ppm": "PPM", ".pgm": "PPM", ".pbm": "PPM", ".avif": "AVIF",
    ".jp2": "JPEG2000",
}  # fmt: skip
# The suffixes of files that are read: other names of the same formats too.
SUFFIXES = (*FORMATS, ".jfif", ".jpe", ".apng", ".pnm", ".j2k")


@dataclass(frozen=True)
class PictureInfo:
    """A picture's header: size in pixels after EXIF rotation, 1 (grey) or 3 channels, alpha.

    mode: Pillow's name of how pixels are stored; profile: what its colour profile says
    deep: more than 8 bits a channel, which are read as 8
    frames: an animation, or a file of several pages
    """

    width: int
    height: int
    channels: int
    alpha: bool
    mode: str = ""
    profile: Profile = "none"
    deep: bool = False
    frames: bool = False


def is_picture(path: Path) -> bool:
    """True if the suffix is a picture's, or the first bytes are a PNG's; nothing is decoded."""
    if path.suffix.lower() in SUFFIXES:
        return True
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(4) == b"\x89PNG"


def picture_info(
    source: Path | bytes, *, name: str | None = None, max_pixels: int = MAX_PIXELS
) -> PictureInfo:
    """Size and kind of a picture from its header alone; ValueError as in `read_image`."""
    with opened_header(source, name or _name(source), max_pixels) as picture:
        width, height = picture.size
        if turn_of(picture) >= 5:
            width, height = height, width
        channels, alpha = 1 if is_grey(picture) else 3, has_alpha(picture)
        mode, profile = picture.mode, profile_of(picture)
        deep, frames = is_deeper(picture), has_frames(picture)
        return PictureInfo(width, height, channels, alpha, mode, profile, deep, frames)


def read_image(
    source: Path | bytes,
    *,
    size: int | tuple[int, int] | None = None,
    channels: int | None = None,
    background: str = "white",
    srgb: bool = False,
    name: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> NDArray[np.uint8]:
    """A picture file, or its bytes, as uint8 [H, W, C]; C is 1 if it is stored as grey, else 3.

    - It is rotated by its EXIF orientation. Animations give their first frame.
    - Transparency is composited over `background` (a colour name or #rrggbb), unless channels is 4.
    - 1-bit becomes 0 and 255; palettes, CMYK, YCbCr and LAB become RGB (a grey palette grey).
    - 16-bit grey is scaled by 255/65535, and float grey within [0, 1] by 255. Other float and
      32-bit pictures are scaled from their own minimum and maximum. Nothing is clipped.
    - With `srgb`, colours are converted by the picture's profile, if it has a usable one.
    - `channels` 1, 3 or 4 converts to grey, RGB or RGBA.
    - `size`, a square's side or (height, width): the picture is scaled with Lanczos until it covers
      that size, keeping its aspect ratio, and cropped to the centre.

    ValueError, one sentence that names the file (`name` for bytes), if it is missing, empty, not a
    picture, corrupt or truncated, or if its header claims more than max_pixels (checked before
    decoding). Pillow's global settings are not changed and do not matter.
    """
    name = name or _name(source)
    with opened_header(source, name, max_pixels) as picture:
        if size is not None:  # JPEG may decode at 1/2, 1/4 or 1/8, but not below twice the size
            longest = size if isinstance(size, int) else max(size)  # EXIF may swap the sides later
            picture.draft(picture.mode, (2 * longest, 2 * longest))
        try:
            picture.load()
        except Exception as error:  # decoders raise anything: OSError, SyntaxError, struct.error
            raise ValueError(
                f"{name} is corrupt or truncated ({reason_of(error)}); copy or save it again"
            ) from None
        return pixels_of(picture, name, size, channels, background, srgb)


def colour_profile(source: Path | bytes) -> bytes | None:
    """The RGB ICC profile of a picture, or None if it has none or one of another colour space.

    A task that keeps it does not apply it: it reads and writes pixels as they are stored.
    ValueError as in `read_image`, and for a profile so large that other programs would not open a
    PNG with it.
    """
    name = _name(source)
    with opened_header(source, name, MAX_PIXELS) as picture:
        profile, mode = picture.info.get("icc_profile"), picture.mode
    if not isinstance(profile, bytes) or mode in ("CMYK", "LAB") or not _is_rgb_profile(profile):
        return None
    if len(profile) >= MAX_PROFILE:
        raise ValueError(
            f"the colour profile of {name} is {len(profile) / 2**20:.1f} MiB, but a PNG may have"
            f" one of at most {MAX_PROFILE / 2**20:.0f} MiB; convert the picture to sRGB"
        )
    return profile


def _is_rgb_profile(profile: bytes) -> bool:
    """True for a complete profile whose header declares the colour space RGB."""
    # ICC.1:2022, section 7.2: profile size, data colour space and file signature.
    length = int.from_bytes(profile[:4], "big")
    return length == len(profile) and profile[16:20] == b"RGB " and profile[36:40] == b"acsp"


def read_unit(path: str | Path, channels: int) -> Tensor:
    """A picture file as float32 [1, C, H, W] in [0, 1], by the rules of `read_image`."""
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


def opened_header(source: Path | bytes, name: str, max_pixels: int) -> Image.Image:
    """A picture with only its header read; nothing is decoded yet."""
    from PIL import Image, UnidentifiedImageError

    Image.init()
    if not isinstance(source, bytes):
        must_be_file(source, "picture")
    kinds = sorted({kind for kind in FORMATS.values() if kind in Image.OPEN})
    limit = ValueError(
        f"the header of {name} claims more than {max_pixels / 1e6:g} megapixels, so it is not"
        " decoded; scale it down first"
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
            else f"has a corrupt header ({reason_of(error)}); copy or save it again"
        )
        raise ValueError(f"{name} {why}") from None
    if picture.width * picture.height > max_pixels:
        picture.close()
        raise limit
    return picture


def _unknown(source: Path | bytes, name: str) -> str:
    length = len(source) if isinstance(source, bytes) else source.stat().st_size
    if length == 0:
        return f"{name} is empty (0 bytes); copy or save it again"
    return (
        f"{name} is not a picture, despite its name (no known format begins like it); save it as"
        " PNG or JPEG"
    )
