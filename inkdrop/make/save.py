"""Writing what a model made: samples of any kind to a file of the kind that its name says."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from inkdrop.diffusion.samplers import Step
from inkdrop.make.make import Made
from inkdrop.media.medium import UNIT, Look, check_output
from inkdrop.model import Model
from inkdrop.registry import medium


@torch.no_grad()
def save(
    samples: Made | Step | Tensor,
    path: str | Path,
    *,
    model: Model | None = None,
    settings: Mapping[str, Any] | None = None,
    columns: int | None = None,
) -> None:
    """Writes samples to one file: a picture, a sheet of several, or an .npz with the values.

    samples: a `Made`, which knows everything; the last Step of a task or sampler, whose x `model`
    decodes; or data [B, C, *sizes] or [C, *sizes] in [-1, 1]
    model: what made them; without it, data are pictures
    settings: kept in a .png or .npz, where `inkdrop info` shows them
    columns: of the sheet; near square by default

    ValueError for a file name or a shape that cannot be written, or a Step without its model.
    """
    if isinstance(samples, Made):
        samples.save(path)
        return
    if isinstance(samples, Step):
        if model is None:
            raise ValueError("a Step holds what the network sees; give model= to turn it into data")
        samples = model.codec.decode(samples.x).clamp(-1, 1)
    kind, span = (medium("picture"), UNIT) if model is None else (model.medium, model.spec.span)
    check_output(kind, Path(path))
    kind.write(_batch(samples, model), Path(path), settings, Look(columns), span)


def _batch(data: Tensor, model: Model | None) -> Tensor:
    """The data [B, C, *sizes]; ValueError if it is not what the model makes."""
    sizes = 2 if model is None else len(model.spec.shape) - 1
    if not data.is_floating_point() or data.ndim not in (sizes + 1, sizes + 2):
        axes = "C, H, W" if sizes == 2 else "C, *sizes"
        raise ValueError(
            f"the samples are {str(data.dtype).removeprefix('torch.')} of shape"
            f" {list(data.shape)}; give floating-point numbers from -1 to 1, [{axes}] or"
            f" [B, {axes}]"
        )
    return data[None] if data.ndim == sizes + 1 else data
