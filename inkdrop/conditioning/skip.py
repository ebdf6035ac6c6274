"""Clip skip: reading CLIP some layers before the one that a model was trained on."""

from __future__ import annotations

import copy
import dataclasses

from inkdrop.conditioning.text import Text, TextConditioner
from inkdrop.networks.clip import Clip


def skipped(text: TextConditioner | None, layers: int) -> tuple[TextConditioner | None, str]:
    """The text read `layers` - 1 layers earlier, and a sentence if that does not apply.

    layers: as other programs count, where 1 is the model's own layer and 2 the one before it. The
    weights are shared. ValueError for a text encoder other than CLIP, or more layers than it has.
    """
    if layers == 1:
        return text, ""
    if text is not None and not isinstance(text, Text):
        return text, (
            f"clip skip {layers} is not applied: this model's encoders are read before their last"
            " layer already, as they were trained"
        )
    encoder = None if text is None else text.encoder
    if text is None or not isinstance(encoder, Clip):
        raise ValueError(
            "clip_skip is for models that read their words with CLIP, such as Stable Diffusion 1;"
            " leave it out"
        )
    config, most = encoder.config, encoder.config.layers + encoder.config.layer + 1
    if layers > most:
        raise ValueError(f"clip_skip is {layers}: this text encoder has {most} layers to choose")
    earlier = copy.copy(encoder)  # the same weights with another configuration
    earlier.config = dataclasses.replace(config, layer=config.layer - (layers - 1))
    return dataclasses.replace(text, encoder=earlier), ""
