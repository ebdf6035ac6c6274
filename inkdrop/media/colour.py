"""Colour profiles (ICC): pictures of any colour space as sRGB, which pixels without one are."""

from __future__ import annotations

from functools import lru_cache
from io import BytesIO
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from PIL import Image
    from PIL.ImageCms import ImageCmsTransform

Profile = Literal["none", "srgb", "other", "damaged"]

# Levels of 255 by which a profile may differ from sRGB and still be a variant of it: the profiles
# called sRGB differ by rounding.
_NEAR = 2
# The mode in which a picture meets its profile; others, such as 16-bit grey, are left as they are.
_MODES = {
    "1": "L", "L": "L", "LA": "L", "La": "L", "P": "RGB", "PA": "RGB", "RGB": "RGB", "RGBA": "RGB",
    "RGBa": "RGB", "RGBX": "RGB", "CMYK": "CMYK",
}  # fmt: skip
_SPACES = {"RGB ": ("RGB", "L"), "GRAY": ("L",), "CMYK": ("CMYK",)}


def profile_of(picture: Image.Image) -> Profile:
    """What a picture's profile says: none, sRGB or nearly so, another space, or it is damaged.

    A profile that does not fit the mode, such as one for print in a grey picture, is damaged too.
    """
    profile, mode = picture.info.get("icc_profile"), _MODES.get(picture.mode)
    if not profile or mode is None:
        return "none"
    found = _transform(profile, mode)
    return "damaged" if found is None else "srgb" if found[1] else "other"


def as_srgb(picture: Image.Image) -> Image.Image:
    """A decoded picture in sRGB by its profile; itself if it has none, or none that is usable.

    Grey stays grey and alpha is kept. Relative colorimetric, with black points matched.
    """
    if profile_of(picture) != "other":
        return picture
    found = _transform(picture.info["icc_profile"], _MODES[picture.mode])
    assert found is not None
    from PIL import ImageCms

    mode, alpha = _MODES[picture.mode], None
    if picture.has_transparency_data:  # in whatever form
        whole = picture.convert("RGBA")
        alpha = whole.getchannel("A")
        picture = whole.convert("RGB") if mode == "RGB" else picture
    plain = picture if picture.mode == mode else picture.convert(mode)
    if mode == "L" and found[0].input_mode == "RGB":
        plain = plain.convert("RGB")
    converted = ImageCms.applyTransform(plain, found[0])
    assert converted is not None
    if mode == "L":
        converted = converted.convert("L")
    if alpha is not None:
        converted.putalpha(alpha)
    return converted


@lru_cache(maxsize=32)
def _transform(profile: bytes, mode: str) -> tuple[ImageCmsTransform, bool] | None:
    """The way to sRGB, and whether it changes next to nothing; None if there is none."""
    from PIL import ImageCms

    try:
        opened = ImageCms.ImageCmsProfile(BytesIO(profile))
        space = opened.profile.xcolor_space
        if mode not in _SPACES.get(space, ()):
            return None
        inner = "RGB" if space == "RGB " else mode
        found = ImageCms.buildTransform(
            opened,
            ImageCms.createProfile("sRGB"),
            inner,
            "RGB",
            ImageCms.Intent.RELATIVE_COLORIMETRIC,
            ImageCms.Flags.BLACKPOINTCOMPENSATION,
        )
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None
    return found, inner != "CMYK" and _keeps(found, inner)


def _keeps(transform: ImageCmsTransform, mode: str) -> bool:
    """Whether a transform leaves colours from the whole range as they are."""
    import numpy as np
    from PIL import Image, ImageCms

    levels = np.arange(0, 256, 15).astype(np.uint8)
    if mode == "L":
        tried = np.repeat(levels[None, :, None], 3, axis=2)
        picture = Image.fromarray(np.ascontiguousarray(tried[..., 0]))
    else:
        tried = np.stack(np.meshgrid(levels, levels, levels), -1).reshape(1, -1, 3)
        picture = Image.fromarray(np.ascontiguousarray(tried))
    made = ImageCms.applyTransform(picture, transform)
    assert made is not None
    return bool(np.abs(np.asarray(made).astype(int) - tried.astype(int)).max() <= _NEAR)
