"""The parts of a model under diffusers' names, and copies with a few changes."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping
from itertools import chain
from typing import TypeVar

from torch import Tensor, nn

from inkdrop.conditioning.joined import JoinedText
from inkdrop.conditioning.text import Text, TextConditioner
from inkdrop.model import Model
from inkdrop.networks.clip import Clip

N = TypeVar("N", bound=nn.Module)

UNET = "unet"
# The first text encoder, and bigG, which is SDXL's second and its refiner's only one.
FIRST, SECOND = "text_encoder", "text_encoder_2"
PARTS = (UNET, FIRST, SECOND)


def texts_of(text: TextConditioner | None) -> dict[str, Text]:
    """The CLIP text encoders of a model's text, by the names of diffusers' folders."""
    if isinstance(text, JoinedText):
        found = dict(zip((FIRST, SECOND)[-len(text.parts) :], text.parts, strict=False))
    else:
        found = {FIRST: text} if isinstance(text, Text) else {}
    return found if all(isinstance(part.encoder, Clip) for part in found.values()) else {}


def with_texts(model: Model, changed: Mapping[str, Text]) -> Model:
    """The model with some texts replaced."""
    if not changed:
        return model
    if not isinstance(model.text, JoinedText):
        return dataclasses.replace(model, text=changed[FIRST])
    parts = tuple({**texts_of(model.text), **changed}.values())
    return dataclasses.replace(model, text=dataclasses.replace(model.text, parts=parts))


def with_weights(network: N, changed: Mapping[str, Tensor]) -> N:
    """A copy of a network with some weights replaced, which shares all others with the original."""
    shared = {id(value): value for value in chain(network.parameters(), network.buffers())}
    made = copy.deepcopy(network, shared)  # which skips what is in `shared`
    for name, value in changed.items():
        place, _, last = name.rpartition(".")
        setattr(made.get_submodule(place), last, nn.Parameter(value, requires_grad=False))
    return made
