"""Constraints: from a denoiser to a denoiser that keeps a promise about its x_0."""

from __future__ import annotations

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """x_0 held inside the data's range, so that errors of eps at high noise cannot run away."""

    def clipped(x: Tensor, t: Tensor) -> Tensor:
        return denoise(x, t).clamp(low, high)

    return clipped
