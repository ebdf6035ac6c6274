"""An estimate of the memory that making a picture takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Literal

from inkdrop.codecs.latent import TILE, WHOLE
from inkdrop.convert.family import Headers
from inkdrop.convert.files.parts import Part
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.unet_config import UNetConfig

# The parts that are called at every step, in foreign checkpoints and in ours.
DENOISERS = ("unet", "network")
CODERS = ("autoencoder", "codec")
# Maps of the first level that are alive at once at the peak, for each pixel or place: measured at
# widths of 32 to 128 and 512 to 1024 pixels a side, and rounded up. Attention keeps no table of all
# pairs, so both grow with the picture. A control network adds its own.
DECODER, UNET, CONTROL = 8.5, 42.0, 13.0
PROGRAM = 400_000_000  # bytes of the program and its libraries, without a model
# Bytes of a number; CPUs compute in the first type and may keep weights in the second.
FLOAT, HALF = 4, 2
# Bytes of a number of a network in an engine's precision; some layers stay in float32.
COMPUTED = {"float32": 4.0, "bfloat16": 2.1, "int8": 1.4}

# How weights are kept: all in half precision, or the denoiser's in the precision of its engine.
Kept = Literal["half", "float32", "bfloat16", "int8"]


def memory(
    about: Headers,
    sizes: Sequence[int],
    samples: int = 1,
    *,
    kept: Kept = "float32",
    controls: Sequence[Part] = (),
) -> int | None:
    """Peak memory in bytes while `inkdrop generate` makes a picture.

    It drops text encoders once words are read, and the denoiser before the picture is decoded.
    Weights that are views into their file take nothing before they are used.
    sizes: height and width of the picture; samples: how many are made at once; controls: the
    control networks beside the denoiser
    None for networks that the formula was not measured on.
    """
    network, coder = about.network, about.autoencoder
    if not isinstance(network, UNetConfig) or not isinstance(coder, AutoencoderConfig):
        return None
    call = calling(network, coder.factor, sizes, samples, len(controls))
    denoisers = [*controls, *_called(about.parts, DENOISERS)]
    number = HALF if kept == "half" else FLOAT
    coders = number * _numbers(_called(about.parts, CODERS))
    computed = round((HALF if kept == "half" else COMPUTED[kept]) * _numbers(denoisers))
    texts = [part for part in about.parts if part.name not in (*DENOISERS, *CODERS)]
    return PROGRAM + max(
        number * _numbers(texts),
        coders + computed + call,
        coders + decoding(coder, sizes, samples),
        opening(about.parts, controls, kept),
    )


def _called(parts: Sequence[Part], names: Sequence[str]) -> list[Part]:
    return [part for part in parts if part.name in names]


def opening(parts: Sequence[Part], controls: Sequence[Part], kept: Kept) -> int:
    """Bytes of the weights before an engine packs them: those that are not mapped are float32."""
    opened = [*controls, *([] if kept == "half" else parts)]
    return FLOAT * _numbers([part for part in opened if part.dtypes != ("float32",)])


def _numbers(parts: Sequence[Part]) -> int:
    return sum(part.numbers for part in parts)


def decoding(config: AutoencoderConfig, sizes: Sequence[int], samples: int = 1) -> int:
    """Bytes that the decoder takes beside its weights; large pictures are decoded in tiles."""
    if prod(sizes) > WHOLE * config.factor**2:
        sizes = (TILE * config.factor,) * 2
    return round(DECODER * FLOAT * samples * prod(sizes) * config.width)


def calling(
    config: UNetConfig, factor: int, sizes: Sequence[int], samples: int = 1, controls: int = 0
) -> int:
    """Bytes that a call with guidance, which doubles the samples, takes beside the weights.

    controls: how many control networks are called with the denoiser
    """
    places = prod(size // factor for size in sizes)
    maps = UNET + CONTROL * controls
    return round(maps * FLOAT * 2 * samples * places * config.width)


@dataclass(frozen=True)
class Load:
    """What is to be made at once.

    size: of the picture, None for the model's own; samples, kept, controls: see `memory`
    """

    size: int | Sequence[int] | None = None
    samples: int = 1
    kept: Kept = "float32"
    controls: Sequence[Part] = ()


def check_memory(
    about: Headers,
    there: int | None,
    load: Load | None = None,
    *,
    smaller: str = "a smaller --size",
) -> None:
    """ValueError if making the pictures takes more memory than there is.

    there: the free bytes, None if unknown; smaller: how the caller asks for a smaller picture
    """
    load = load or Load()
    sizes, samples = about.sizes_for(load.size), load.samples
    needed = memory(about, sizes, samples, kept=load.kept, controls=load.controls)
    if needed is None or there is None or needed <= there:
        return
    what = "a picture" if samples == 1 else f"{samples} pictures"
    beside = " with its control networks" if load.controls else ""
    ways = [
        *(["--half"] if load.kept == "float32" else []),
        smaller,
        *(["a smaller --count"] if samples > 1 else []),
    ]
    takes = "takes" if samples == 1 else "take"
    raise ValueError(
        f"{what} of {'x'.join(map(str, sizes))} by this model{beside} {takes} about"
        f" {needed / 1e9:.1f} GB, weights included, and {there / 1e9:.1f} GB are free; give"
        f" {' or '.join(ways)}"
    )


def available() -> int | None:
    """Bytes of memory that programs may still take; None where the system does not report it."""
    file = Path("/proc/meminfo")
    lines = file.read_text(encoding="ascii").splitlines() if file.is_file() else []
    found = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return 1024 * int(found[0]) if found else None
