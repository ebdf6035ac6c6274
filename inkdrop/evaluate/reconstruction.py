"""Similarity of pictures to their references: PSNR and SSIM."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

# The constants of Wang et al. 2004, section III.
WINDOW, SIGMA, K1, K2 = 11, 1.5, 0.01, 0.03


def psnr(pictures: Tensor, wanted: Tensor) -> Tensor:
    """Peak signal-to-noise ratio of each sample in dB, [B] float64; infinite for equal samples.

    Both are [B, C, *spatial] in [-1, 1]: 10 log10(2^2 / mean squared error). The PSNR of a data set
    is the mean of these. ValueError for other shapes or values.
    """
    x, y = _checked(pictures, wanted)
    error = (x - y).square().flatten(1).mean(1)
    return 10 * (4 / error).log10()


def ssim(pictures: Tensor, wanted: Tensor) -> Tensor:
    """Structural similarity of each picture, [B] float64, at most 1; Wang et al. 2004, eq. 13.

    Both are [B, C, H, W] in [-1, 1], H and W at least 11. The SSIM map of each channel, restricted
    to positions where the Gaussian window lies inside the picture, is averaged over positions and
    channels. Pictures are not downscaled first. ValueError for other shapes or values.
    """
    # The luminance term compares means as amounts of light, so black must be 0, not -1.
    x, y = ((z + 1) / 2 for z in _checked(pictures, wanted))
    if x.ndim != 4 or min(x.shape[2:]) < WINDOW:
        raise ValueError(
            f"pictures have shape {list(x.shape)}; SSIM takes [B, C, H, W] with sides of at least"
            f" {WINDOW}"
        )
    mx, my = _smooth(x), _smooth(y)
    vx, vy = _smooth(x * x) - mx * mx, _smooth(y * y) - my * my
    covariance = _smooth(x * y) - mx * my
    c1, c2 = K1**2, K2**2
    luminance = (2 * mx * my + c1) / (mx * mx + my * my + c1)
    structure = (2 * covariance + c2) / (vx + vy + c2)
    return (luminance * structure).flatten(1).mean(1)


def _checked(pictures: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    if pictures.shape != wanted.shape or pictures.ndim < 3 or not pictures.numel():
        raise ValueError(
            f"pictures have shapes {list(pictures.shape)} and {list(wanted.shape)}; give two"
            " batches [B, C, ...] of the same shape"
        )
    for x in (pictures, wanted):
        if not bool((x.abs() <= 1).all()):  # also False for a NaN
            raise ValueError(
                f"pictures have values from {float(x.min()):g} to {float(x.max()):g}; bring them"
                " into [-1, 1], for example by clamp(-1, 1)"
            )
    return pictures.detach().double(), wanted.detach().double()


def _smooth(x: Tensor) -> Tensor:
    """[B, C, H, W] -> [B, C, H - 10, W - 10]: the local mean under the Gaussian window."""
    places = torch.arange(WINDOW, dtype=x.dtype, device=x.device) - WINDOW // 2
    weights = torch.exp(-places.square() / (2 * SIGMA**2))
    weights = (weights / weights.sum()).view(1, 1, -1, 1)
    planes = x.flatten(0, 1)[:, None]
    planes = F.conv2d(F.conv2d(planes, weights), weights.transpose(2, 3))
    return planes.view(*x.shape[:2], *planes.shape[2:])
