"""An estimate of the memory that making a picture takes."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

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
    """Bytes that the decoder takes beside its weights, for a picture that is made whole."""
    return round(DECODER * BYTES * samples * prod(sizes) * config.width)


def calling(config: UNetConfig, factor: int, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that a call with guidance, which is of twice the samples, takes beside the weights."""
    places = prod(size // factor for size in sizes)
    return round(UNET * BYTES * 2 * samples * places * config.width)
