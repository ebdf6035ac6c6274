"""Control: samples that follow a hint, such as edges, by a ControlNet (Zhang et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from inkdrop.media.image import read_unit
from inkdrop.model import Model
from inkdrop.networks.control import Control, Controlled, ControlNet, unet_of
from inkdrop.tasks.canvas import read_transparent


def controlled(model: Model, control: ControlNet, hint: Tensor, scale: float = 1.0) -> Model:
    """The model with one more control; the given model and its own controls are unchanged.

    hint: [1 or samples, C, *spatial] in [0, 1], as large as the samples. scale: strength of the
    control [1]; 0 is the model alone. ValueError if `control` was made for another network.
    """
    network, others = unet_of(model.network), list[Control]()
    if isinstance(model.network, Controlled):
        others = [each for each in model.network.controls if isinstance(each, Control)]
    return replace(model, network=Controlled(network, [*others, Control(control, scale, hint)]))


def read_hint(
    path: str | Path, sizes: Sequence[int], channels: int = 3
) -> tuple[Tensor, tuple[str, ...]]:
    """A picture file as a hint [1, C, H, W] in [0, 1], resized bicubically to sizes = (H, W).

    Second: warnings, if that changes its aspect ratio by over 1%, and if it is transparent
    anywhere, which is read as white.
    """
    pixels = read_unit(path, channels)
    height, width = pixels.shape[2:]
    said = list[str]()
    alpha = read_transparent(str(path))
    if alpha is not None and bool((alpha[:, 3:] < 1).any()):
        said.append(
            f"the hint {path} is transparent in places, which are read as white; give one without"
            " transparency if they should be black, as around lines"
        )
    if abs(height * sizes[1] / (width * sizes[0]) - 1) > 0.01:
        said.append(
            f"the hint {path} is {height}x{width} and was stretched to {sizes[0]}x{sizes[1]};"
            " choose a size with its aspect ratio to avoid that"
        )
    if (height, width) == tuple(sizes):
        return pixels, tuple(said)
    return F.interpolate(pixels, size=list(sizes), mode="bicubic", antialias=True).clamp(
        0, 1
    ), tuple(said)
