"""Control: pictures drawn along a hint, such as edges, which a branch beside the network reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from inkdrop.media.image import read_unit
from inkdrop.model import Model
from inkdrop.networks.control import Control, Controlled, ControlNet, unet_of


def controlled(model: Model, control: ControlNet, hint: Tensor, scale: float = 1.0) -> Model:
    """A model that draws along a hint; the given one stays as it is, and so does a control of it.

    hint: [1 or samples, C, *spatial] from 0 to 1, of the size of what is made. scale: of what the
    control network says; 0 is the model alone. ValueError if it is for another network.
    """
    network, others = unet_of(model.network), list[Control]()
    if isinstance(model.network, Controlled):
        others = [each for each in model.network.controls if isinstance(each, Control)]
    return replace(model, network=Controlled(network, [*others, Control(control, scale, hint)]))


def read_hint(path: str | Path, sizes: Sequence[int], channels: int = 3) -> tuple[Tensor, str]:
    """A picture file as a hint [1, C, H, W] from 0 to 1 of this height and width, by bicubics.

    And a sentence if that changes how high it is for its width, or "".
    """
    pixels = read_unit(path, channels)
    height, width = pixels.shape[2:]
    said = ""
    if abs(height * sizes[1] / (width * sizes[0]) - 1) > 0.01:
        said = (
            f"the hint {path} is {height}x{width} and was stretched to {sizes[0]}x{sizes[1]}; ask"
            " for a size of its own shape to keep it"
        )
    if (height, width) == tuple(sizes):
        return pixels, said
    return F.interpolate(pixels, size=list(sizes), mode="bicubic", antialias=True).clamp(0, 1), said
