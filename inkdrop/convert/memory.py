"""An estimate of the memory that making a picture takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from pathlib import Path
from typing import Any

from inkdrop.codecs.latent import TILE, WHOLE
from inkdrop.model import Model
from inkdrop.networks.autoencoder import AutoencoderConfig
from inkdrop.networks.unet_config import UNetConfig

# Maps of the first level that are alive at once at the highest point, for each pixel or place:
# measured from widths of 32 to 128 and 512 to 1024 pixels a side, rounded up. Attention keeps no
# table of all pairs, so both grow as the picture does.
DECODER, UNET = 8.5, 42.0
BYTES = 4  # of float32, in which CPUs compute


def memory(
    network: Any, autoencoder: Any, numbers: int, sizes: Sequence[int], samples: int = 1
) -> int | None:
    """Bytes for the weights, `numbers` of them, and the larger of a guided call and the decoder.

    sizes: of the picture; samples: made at once. None for networks it was not measured on.
    """
    if not isinstance(network, UNetConfig) or not isinstance(autoencoder, AutoencoderConfig):
        return None
    return BYTES * numbers + max(
        decoding(autoencoder, sizes, samples), calling(network, autoencoder.factor, sizes, samples)
    )


def decoding(config: AutoencoderConfig, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that the decoder takes beside its weights; large pictures are made in tiles."""
    if prod(sizes) > WHOLE * config.factor**2:
        sizes = (TILE * config.factor,) * 2
    return round(DECODER * BYTES * samples * prod(sizes) * config.width)


def calling(config: UNetConfig, factor: int, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that a call with guidance, which is of twice the samples, takes beside the weights."""
    places = prod(size // factor for size in sizes)
    return round(UNET * BYTES * 2 * samples * places * config.width)


def check_memory(model: Model, samples: int, there: int | None) -> None:
    """ValueError if making so many pictures at once takes more than the bytes that are there.

    The weights are loaded by now, so they do not count. there: None if nobody knows
    """
    network = getattr(model.network, "config", None)
    autoencoder = getattr(getattr(model.codec, "config", None), "autoencoder", None)
    sizes = model.spec.shape[1:]
    needed = memory(network, autoencoder, 0, sizes, samples)
    if needed is not None and there is not None and needed > there:
        raise ValueError(
            f"{samples} pictures of {'x'.join(map(str, sizes))} take about {needed / 1e9:.1f} GB"
            f" beside the weights, and {there / 1e9:.1f} GB are free; ask for a smaller size, or a"
            " smaller --count"
        )


def available() -> int | None:
    """Bytes of memory that programs may still take, where the system says it."""
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
