"""Latents: a data set encoded once, kept in a folder, and read as a data set.

latents.npy    float16 [N, C, *spatial], the autoencoder's output, unscaled
latents.json   digests of the data and the autoencoder, and the channels' shift and scale
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from inkdrop.codecs.latent import Latent, LatentConfig
from inkdrop.config import dump
from inkdrop.data.dataset import Dataset
from inkdrop.digest import digest, digest_of_weights
from inkdrop.files import replacing
from inkdrop.networks.autoencoder import Autoencoder
from inkdrop.networks.autoencoder_config import AutoencoderConfig, check_sizes
from inkdrop.weights import read_json

# A channel whose spread is below this share of the largest one carries no information.
COLLAPSED = 1e-3


@dataclass(frozen=True)
class Encoding:
    """Progress: `done` of `total` samples are encoded."""

    done: int
    total: int


def encode(
    data: Dataset, autoencoder: Autoencoder, folder: Path, *, batch: int = 64
) -> Iterator[Encoding]:
    """Encodes `data` into `folder`, unless that has been done; yields its progress.

    ValueError if the folder has latents of another autoencoder or other data, if the pictures have
    a size or channels that the autoencoder does not take, or if latents are not finite or collapse.
    """
    check_coding(data, autoencoder.config)
    made = {**_made(autoencoder), "data": data.fingerprint}
    if (folder / "latents.json").is_file():
        _same(folder, made)
        return
    config = autoencoder.config
    sizes = (size // config.factor for size in data.shape[1:])
    shape = (len(data), config.latent_channels, *sizes)
    folder.mkdir(parents=True, exist_ok=True)
    spread = _Spread(config.latent_channels)
    kind = np.dtype(np.float16)
    header = {"descr": kind.str, "fortran_order": False, "shape": shape}
    needs = math.prod(shape) * kind.itemsize
    # Written in order, not through a mapping: on a full disk, that would kill the process.
    with replacing(folder / "latents.npy", needs) as beside, beside.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        for first in range(0, len(data), batch):
            rows = range(first, min(first + batch, len(data)))
            code = _encoded(autoencoder, data, rows)
            spread.add(code)
            file.write(code.cpu().numpy().astype(kind).tobytes())
            yield Encoding(rows.stop, len(data))
    about = {**made, **spread.measured()}
    with replacing(folder / "latents.json") as beside:
        beside.write_text(json.dumps(about, indent=2) + "\n", encoding="utf-8")


def check_coding(data: Dataset, config: AutoencoderConfig) -> None:
    """ValueError for data with channels or sizes that such an autoencoder does not take."""
    if data.shape[0] != config.channels:
        raise ValueError(
            f"{data.name} has {data.shape[0]} channels, but the autoencoder takes"
            f" {config.channels}; open the data with that many, or train another autoencoder"
        )
    check_sizes(config, data.shape[1:])


def codec(folder: Path, autoencoder: Autoencoder) -> Latent:
    """The autoencoder with the shift and scale measured on the latents in a folder."""
    about = read_json(folder / "latents.json")
    _same(folder, _made(autoencoder))
    shift, scale = tuple(about["shift"]), tuple(about["scale"])
    return Latent(LatentConfig(autoencoder.config, shift, scale), autoencoder)


def open_latents(
    folder: Path, data: Dataset, autoencoder: Autoencoder, shown: Latent | None = None
) -> Dataset:
    """The latents of `data`, shifted and scaled, with its labels and captions.

    shown: the codec to shift and scale with, if not the one measured here; several buckets share
    one. ValueError if the folder has latents of another autoencoder or other data.
    """
    measured = codec(folder, autoencoder)
    found = shown or measured
    _same(folder, {"data": data.fingerprint})
    array = np.load(folder / "latents.npy", mmap_mode="r")
    return dataclasses.replace(
        data,
        name=f"latents of {data.name}",
        shape=tuple(array.shape[1:]),
        store=_Codes(array, found.shift, found.scale),
        fingerprint=digest(
            [data.fingerprint, digest_of_weights(autoencoder.state_dict()), "latents"]
            + ([] if shown is None else [json.dumps(dump(shown.config))])
        ),
        notes=(),
    )


@torch.no_grad()
def _encoded(autoencoder: Autoencoder, data: Dataset, rows: range) -> Tensor:
    device = next(autoencoder.parameters()).device
    code = autoencoder.encode(data.take(rows).to(device)).float()
    finite = code.isfinite().movedim(1, 0).flatten(1).all(1)
    if not bool(finite.all()):
        channel = int(finite.logical_not().nonzero()[0])
        raise ValueError(
            f"the latents of samples {rows.start} to {rows.stop - 1} of {data.name} are not finite"
            f" in channel {channel}; train the autoencoder longer, or again with a lower lr"
        )
    return code


class _Spread:
    """Mean and variance of every channel, over all latents."""

    def __init__(self, channels: int) -> None:
        self.sum = torch.zeros(channels, dtype=torch.float64)
        self.squares = torch.zeros(channels, dtype=torch.float64)
        self.count = 0

    def add(self, code: Tensor) -> None:
        flat = code.movedim(1, 0).flatten(1).double().cpu()
        self.sum += flat.sum(1)
        self.squares += flat.square().sum(1)
        self.count += flat.shape[1]

    def measured(self) -> dict[str, Any]:
        """A shift for each channel, and one scale for all, which keeps relative distances.

        Rombach et al. 2022, appendix G; the mean is subtracted as well.
        """
        mean = self.sum / self.count
        variance = (self.squares / self.count - mean.square()).clamp(min=0)
        widest = float(variance.max())
        for channel, value in enumerate(variance.tolist()):
            if math.sqrt(value) <= COLLAPSED * math.sqrt(widest):
                raise ValueError(
                    f"channel {channel} of the latents has collapsed: its spread is"
                    f" {math.sqrt(value):.3g}, that of the widest channel {math.sqrt(widest):.3g};"
                    " train the autoencoder with fewer latent channels or a smaller kl"
                )
        scale = 1 / math.sqrt(float(variance.mean()))
        return {"shift": mean.tolist(), "scale": [scale] * len(mean)}


@dataclass(frozen=True, eq=False)
class _Codes:
    array: NDArray[Any]
    shift: Tensor
    scale: Tensor

    def take(self, indices: NDArray[np.int64]) -> Tensor:
        code = torch.from_numpy(np.ascontiguousarray(self.array[indices])).float()
        return (code - self.shift.cpu()) * self.scale.cpu()


def _made(autoencoder: Autoencoder) -> dict[str, str]:
    return {"autoencoder": digest_of_weights(autoencoder.state_dict())}


def _same(folder: Path, made: dict[str, str]) -> None:
    about = read_json(folder / "latents.json")
    for what, value in made.items():
        if about.get(what) != value:
            other = "another autoencoder" if what == "autoencoder" else "other data"
            raise ValueError(
                f"the latents in {folder} are of {other}; remove that folder to make them again"
            )
