"""An estimate of the memory that making a picture takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from inkdrop.codecs.latent import TILE, WHOLE
from inkdrop.convert.headers import Headers
from inkdrop.networks.autoencoder import AutoencoderConfig
from inkdrop.networks.unet_config import UNetConfig

# Maps of the first level that are alive at once at the highest point, for each pixel or place:
# measured from widths of 32 to 128 and 512 to 1024 pixels a side, rounded up. Attention keeps no
# table of all pairs, so both grow as the picture does.
DECODER, UNET = 8.5, 42.0
FLOAT, HALF = 4, 2  # bytes of a number; CPUs compute in the first, weights may be kept in the other


def memory(
    network: Any,
    autoencoder: Any,
    numbers: int,
    sizes: Sequence[int],
    samples: int = 1,
    *,
    kept: int = FLOAT,
) -> int | None:
    """Bytes for the weights, `numbers` of them, and the larger of a guided call and the decoder.

    Words take less than either: some megabytes a prompt.
    sizes: of the picture; samples: made at once; kept: bytes of a number of the weights.
    None for networks it was not measured on.
    """
    if not isinstance(network, UNetConfig) or not isinstance(autoencoder, AutoencoderConfig):
        return None
    return kept * numbers + max(
        decoding(autoencoder, sizes, samples), calling(network, autoencoder.factor, sizes, samples)
    )


def decoding(config: AutoencoderConfig, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that the decoder takes beside its weights; large pictures are made in tiles."""
    if prod(sizes) > WHOLE * config.factor**2:
        sizes = (TILE * config.factor,) * 2
    return round(DECODER * FLOAT * samples * prod(sizes) * config.width)


def calling(config: UNetConfig, factor: int, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that a call with guidance, which is of twice the samples, takes beside the weights."""
    places = prod(size // factor for size in sizes)
    return round(UNET * FLOAT * 2 * samples * places * config.width)


def check_memory(
    headers: Headers,
    there: int | None,
    *,
    size: int | Sequence[int] | None = None,
    samples: int = 1,
    half: bool = False,
) -> None:
    """ValueError if a model with so many pictures at once takes more than the bytes that are there.

    there: None if nobody knows; size: that is asked for; half: weights are kept in half precision
    """
    sizes, kept = headers.sizes_for(size), HALF if half else FLOAT
    needed = memory(
        headers.network, headers.autoencoder, headers.numbers, sizes, samples, kept=kept
    )
    if needed is None or there is None or needed <= there:
        return
    what = "a picture" if samples == 1 else f"{samples} pictures"
    ways = [
        *([] if half else ["--half"]),
        "a smaller --size",
        *(["a smaller --count"] if samples > 1 else []),
    ]
    raise ValueError(
        f"{what} of {'x'.join(map(str, sizes))} by this model takes about {needed / 1e9:.1f} GB,"
        f" weights included, and {there / 1e9:.1f} GB are free; give {' or '.join(ways)}"
    )


def available() -> int | None:
    """Bytes of memory that programs may still take, where the system says it."""
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
