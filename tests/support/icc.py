"""Colour profiles whose effect is known without a colour library."""

from __future__ import annotations

import struct

from PIL import ImageCms


def srgb() -> bytes:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def swapped() -> bytes:
    """sRGB with the colours of red and blue exchanged: what it calls red is sRGB's blue."""
    profile = bytearray(srgb())
    for i in range(int.from_bytes(profile[128:132], "big")):
        place = 132 + 12 * i
        name = bytes(profile[place : place + 4])
        swaps = {b"rXYZ": b"bXYZ", b"bXYZ": b"rXYZ"}
        profile[place : place + 4] = swaps.get(name, name)
    return bytes(profile)


def linear_grey() -> bytes:
    """Grey whose values are light itself, not its encoding (ICC.1:2001, a kTRC without entries)."""
    white = b"XYZ \0\0\0\0" + struct.pack(">3i", 63190, 65536, 54061)  # D50
    curve = b"curv" + bytes(8)
    tags = {b"wtpt": white, b"kTRC": curve}
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, body in tags.items():
        table += name + struct.pack(">2I", start + len(data), len(body))
        data += body
    size = start + len(data)
    header = struct.pack(">I4sI4s4s4s", size, b"", 0x02400000, b"mntr", b"GRAY", b"XYZ ")
    header = header.ljust(36, b"\0") + b"acsp"
    header = header.ljust(68, b"\0") + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + data
