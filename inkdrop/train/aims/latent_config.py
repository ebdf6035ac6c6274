"""Latents: how a latent model is built. It does not import torch, for a fast command line."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from inkdrop.config import choose, option
from inkdrop.train.aims.captions import Captioner, written
from inkdrop.train.config import CODING_TRAINING
from inkdrop.train.request import TrainRequest

if TYPE_CHECKING:
    from inkdrop.data.dataset import Dataset
    from inkdrop.networks.text import TextEncoderConfig

LATENT_NETWORKS = {"dit": "diffusion transformer", "unet": "U-Net"}
CODE_CHANNELS = 8
CODING_SHARE = 0.25  # fraction of the minutes spent on the autoencoder, if one is trained


@dataclass(frozen=True)
class Latents:
    """How a latent model is built: its autoencoder, its text encoder and its denoiser.

    encoder: the shape of a text encoder trained jointly with the denoiser; None: `latent.TEXT`
    captioner: chooses each picture's caption
    coding: the autoencoder's TrainRequest, instead of the one that `coded` derives

    A network in the run's TrainRequest takes precedence over `network`.
    """

    autoencoder: Path | None = option(
        None, "Run or model folder of an autoencoder to reuse.", unset="one is trained first"
    )
    autoencoder_updates: int | None = option(
        None,
        "Updates of the autoencoder that is trained first.",
        unset=f"{CODING_TRAINING.updates}, or what fits in a quarter of the minutes",
    )
    factor: int | None = option(
        None,
        "Pixels along each side of a place in the code, a power of 2.",
        unset="4, or 8 for pictures above 128 pixels",
    )
    code_channels: int | None = option(None, "Channels of the code.", unset=str(CODE_CHANNELS))
    text: bool | None = option(None, "Read captions.", unset="if the data has any")
    text_encoder: Path | None = option(
        None,
        "Folder of a transformers text encoder, which reads the captions as it is.",
        unset="a small one is trained",
    )
    network: str = option("dit", "Network on the code: dit or unet.")
    encoder: TextEncoderConfig | None = None
    captioner: Captioner = written
    coding: TrainRequest | None = None

    def __post_init__(self) -> None:
        choose("network for latents", self.network, LATENT_NETWORKS)
        if self.text is False and self.text_encoder is not None:
            raise ValueError(
                "text_encoder names an encoder that reads captions, but text is off; leave one out"
            )
        if self.encoder is not None and self.text_encoder is not None:
            raise ValueError(
                "the text encoder is either trained here, of the shape `encoder`, or the one in the"
                " folder `text_encoder`; leave one out"
            )
        if self.code_channels is not None and self.code_channels < 1:
            raise ValueError(f"code_channels is {self.code_channels}: it must be at least 1")
        for name in ("autoencoder_updates", "factor", "code_channels"):
            if self.autoencoder is not None and getattr(self, name) is not None:
                raise ValueError(
                    f"{name} is for an autoencoder that is trained here, but `autoencoder` names"
                    " one to reuse; leave one out"
                )

    def reads(self, data: Dataset) -> bool:
        """Whether the model reads text."""
        if self.text is None:
            return self.text_encoder is not None or data.captions is not None
        return self.text

    def coded(self, request: TrainRequest) -> TrainRequest:
        """The autoencoder's request, given the `request` for all stages together."""
        if self.coding is not None:
            return self.coding
        updates, minutes = self.autoencoder_updates, request.minutes
        config = dataclasses.replace(CODING_TRAINING, seed=request.config.seed)
        if updates is not None:
            config = dataclasses.replace(config, updates=updates)
            minutes = None
        share = None if minutes is None else CODING_SHARE * minutes
        return TrainRequest(config, share, save_every=request.save_every)

    def denoised(self, request: TrainRequest) -> TrainRequest:
        """The denoiser's request, given the `request` for all stages together."""
        alone = self.autoencoder is not None or self.coding is not None
        if request.minutes is None or alone:
            return request
        return dataclasses.replace(request, minutes=(1 - CODING_SHARE) * request.minutes)
