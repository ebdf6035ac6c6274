"""What was found in a foreign checkpoint of any layout; its weights are read when they are used."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from inkdrop.convert.files.keys import Naming
from inkdrop.convert.files.stored import Weights
from inkdrop.convert.sd.autoencoder_settings import Scaling
from inkdrop.convert.sd.families import Family
from inkdrop.convert.sd.schedule import Schedule
from inkdrop.networks.autoencoder import AutoencoderConfig
from inkdrop.networks.taesd import TAESDConfig
from inkdrop.networks.unet_config import UNetConfig


@dataclass(frozen=True)
class ReadOptions:
    """How to read a checkpoint where its files do not say, or say something wrong.

    prediction: what the network predicts: eps, v or x0
    zero_terminal_snr: the schedule ends in pure noise
    variant: of the weights in a folder, such as fp16; by default the plain ones, or the only ones
    averaged: of a single file, the averaged weights of its training (model_ema)
    ignore: beginnings of names in a single file that are of no interest
    trust_pickle: open pickles by the restricted loader (`inkdrop convert --i-trust-this-pickle`)
    """

    prediction: str | None = None
    zero_terminal_snr: bool | None = None
    variant: str | None = None
    averaged: bool = False
    ignore: tuple[str, ...] = ()
    trust_pickle: bool = False

    def check(self, path: Path, what: str, takes: Collection[str]) -> None:
        """ValueError for one that was set and that this kind of file does not take."""
        for each in fields(self):
            known = each.name in {*takes, "trust_pickle"}
            if not known and getattr(self, each.name) != each.default:
                raise ValueError(
                    f"{path} is {what}, of which --{each.name.replace('_', '-')} changes nothing;"
                    " leave it out"
                )


PLAIN = ReadOptions()
SAID = ("prediction", "zero_terminal_snr")  # what any file may say wrong


@dataclass(frozen=True)
class UNetPart:
    """A U-Net in a foreign file: its shape here, its weights, and their names there.

    size: of the codes it was trained on, if the file says it
    """

    config: UNetConfig
    naming: Naming
    weights: Weights
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class AutoencoderPart:
    """An autoencoder in a foreign file; scaling: None where only its family knows it."""

    config: AutoencoderConfig | TAESDConfig
    naming: Naming
    weights: Weights
    scaling: Scaling | None = None


@dataclass(frozen=True)
class TextPart:
    """A text encoder or a tokenizer as it was found, for those who build text encoders.

    name: text_encoder, text_encoder_2, tokenizer ... in a folder; of a single file the prefix of
        its names, such as cond_stage_model.transformer
    kind: the class that its folder says, such as CLIPTextModelWithProjection; "" in a single file
    folder: where it lies by itself, if it does; settings: its config.json
    weights: under their own names, without the prefix; none of a tokenizer
    """

    name: str
    kind: str
    folder: Path | None
    settings: Mapping[str, Any]
    weights: Weights


@dataclass(frozen=True)
class Foreign:
    """A checkpoint of others.

    layout: folder, part (one network's folder) or single
    text: its text encoders and tokenizers, by name
    unused: what else is there, and why it is of no use here
    notes: what had to be assumed
    """

    path: Path
    layout: str
    family: Family | None = None
    denoiser: UNetPart | None = None
    coder: AutoencoderPart | None = None
    schedule: Schedule | None = None
    text: Mapping[str, TextPart] = field(default_factory=dict)
    unused: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
