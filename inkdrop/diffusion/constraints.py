"""Constraints: wrappers around a denoiser that limit the range of its x_0."""

from __future__ import annotations

from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import like


def clip(denoise: Denoiser, low: float = -1.0, high: float = 1.0) -> Denoiser:
    """x_0 clamped to the data range: at high noise a small error in eps is a large one in x_0."""

    def clipped(x: Tensor, t: Tensor) -> Tensor:
        return denoise(x, t).clamp(low, high)

    return clipped


def threshold(denoise: Denoiser, quantile: float = 0.995) -> Denoiser:
    """Dynamic thresholding: x_0 clipped to the sample's quantile of |x_0| and divided by it.

    Saharia et al. 2022 (Imagen), section 2.3. Where the quantile is below 1, this clips to [-1, 1].
    quantile: above 0, at most 1; ValueError otherwise.
    """
    if not 0 < quantile <= 1:
        raise ValueError(f"quantile is {quantile}: it must be above 0 and at most 1")

    def thresholded(x: Tensor, t: Tensor) -> Tensor:
        x0 = denoise(x, t)
        size = x0.flatten(1).abs().float().quantile(quantile, dim=1).clamp(min=1)
        edge = like(size, x0)
        return x0.clamp(-edge, edge) / edge

    return thresholded
