"""What was found in a foreign checkpoint of any layout; weights are read when they are used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.schedule import Schedule
from inkdrop.convert.sd.versions import Version, version_of
from inkdrop.networks.autoencoder_config import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.networks.unet_config import UNetConfig


@dataclass(frozen=True)
class UNetPart:
    """A U-Net in a foreign file: our configuration for it, its weights and their names there.

    size: height and width of the codes it was trained on, if the file states it
    """

    config: UNetConfig
    naming: Naming
    weights: Weights
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class AutoencoderPart:
    """An autoencoder in a foreign file; scaling: None where it follows from the version alone."""

    config: AutoencoderConfig | TAESDConfig
    naming: Naming
    weights: Weights
    scaling: Scaling | None = None


@dataclass(frozen=True)
class TextPart:
    """A text encoder or a tokenizer as it was found; `text.to_text` builds it.

    name: text_encoder, text_encoder_2, tokenizer ... in a folder; in a single file the prefix of
        its weights' names, such as cond_stage_model.transformer
    kind: the class that its folder states, such as CLIPTextModelWithProjection; "" in a single file
    folder: its own folder, if it has one; settings: the config.json in it
    weights: under their own names, without the prefix; empty for a tokenizer
    """

    name: str
    kind: str
    folder: Path | None
    settings: Mapping[str, Any]
    weights: Weights


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of Stable Diffusion whose headers and settings are read.

    layout: folder, part (the folder of a single network) or single (file)
    text: text encoders and tokenizers by name
    unused: what else the checkpoint holds, and why it is not used here
    notes: what had to be assumed
    """

    path: Path
    layout: Literal["folder", "part", "single"]
    unet: UNetPart | None = None
    autoencoder: AutoencoderPart | None = None
    schedule: Schedule | None = None
    text: Mapping[str, TextPart] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def version(self) -> Version | None:
        """The version of Stable Diffusion, if the U-Net is of one."""
        return None if self.unet is None else version_of(self.unet.config)
