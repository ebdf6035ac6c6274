"""PSNR by hand; SSIM against scipy's Gaussian filter and the properties of the formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.ndimage import gaussian_filter
from torch import Tensor

from inkdrop.evaluate.reconstruction import psnr, ssim


def pictures(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def by_scipy(x: Tensor, y: Tensor) -> float:
    """SSIM of one channel [H, W] of values in [-1, 1], as scikit-image computes it."""
    a, b = ((z.double().numpy() + 1) / 2 for z in (x, y))

    def smooth(z):
        return gaussian_filter(z, 1.5, radius=5)[5:-5, 5:-5]

    ma, mb = smooth(a), smooth(b)
    va, vb, ab = smooth(a * a) - ma**2, smooth(b * b) - mb**2, smooth(a * b) - ma * mb
    c1, c2 = 0.01**2, 0.03**2
    top, bottom = (2 * ma * mb + c1) * (2 * ab + c2), (ma**2 + mb**2 + c1) * (va + vb + c2)
    return float(np.mean(top / bottom))


@pytest.mark.parametrize("shape", [(2, 1, 11, 11), (3, 3, 20, 33)])
def test_ssim_agrees_with_scipy(shape: tuple[int, ...]):
    x = pictures(*shape)
    y = (x + 0.3 * pictures(*shape, seed=1)).clamp(-1, 1)
    expected = [
        np.mean([by_scipy(p, q) for p, q in zip(*z, strict=True)]) for z in zip(x, y, strict=True)
    ]
    found = ssim(x, y)
    assert found.dtype == torch.float64 and 0.3 < float(found.mean()) < 0.99
    torch.testing.assert_close(found, torch.tensor(expected, dtype=torch.float64))


def test_ssim_of_constant_pictures_is_their_luminance():
    x, y = torch.full((1, 1, 16, 16), 0.0), torch.full((1, 1, 16, 16), -0.5)
    # as amounts of light 1/2 and 1/4
    expected = (2 * 0.5 * 0.25 + 0.01**2) / (0.5**2 + 0.25**2 + 0.01**2)
    assert float(ssim(x, y)) == pytest.approx(expected, rel=1e-9)


def test_ssim_of_equal_and_of_inverted_pictures():
    x = pictures(2, 3, 24, 24)
    torch.testing.assert_close(ssim(x, x), torch.ones(2).double())
    assert float(ssim(x, -x).max()) < 0
    torch.testing.assert_close(ssim(x, -x), ssim(-x, x))


def test_psnr_of_a_known_error():
    x = torch.zeros(3, 1, 4, 4)
    y = torch.stack([torch.full((1, 4, 4), e) for e in (0.2, 0.02, 0.0)])
    found = psnr(x, y)
    # a range of 2 over an error of 0.2 is a factor of 10: 20 dB
    torch.testing.assert_close(found[:2], torch.tensor([20.0, 40.0]).double(), rtol=1e-6, atol=0)
    assert found[2] == torch.inf


def test_psnr_is_a_mean_of_decibels_not_of_errors():
    x, y = pictures(2, 3, 8, 8), pictures(2, 3, 8, 8, seed=1)
    y[1] = x[1] + 0.01 * (y[1] - x[1])
    each = [psnr(x[i : i + 1], y[i : i + 1]) for i in range(2)]
    torch.testing.assert_close(psnr(x, y), torch.cat(each))
    assert float(each[1] - each[0]) > 30


def test_psnr_takes_sound_and_volumes():
    x, y = pictures(2, 1, 50), pictures(2, 1, 50, seed=1)
    volumes = [z.view(2, 1, 2, 5, 5) for z in (x, y)]
    torch.testing.assert_close(psnr(x, y), psnr(*volumes))


@pytest.mark.parametrize("measure", [psnr, ssim])
def test_values_and_shapes_are_checked(measure):
    x = pictures(2, 3, 12, 12)
    with pytest.raises(ValueError, match="of the same shape"):
        measure(x, x[:1])
    with pytest.raises(ValueError, match=r"values from .* to 1\.5; bring"):
        measure(x, torch.full_like(x, 1.5))
    with pytest.raises(ValueError, match="nan"):
        measure(x, torch.full_like(x, torch.nan))


def test_ssim_needs_room_for_its_window():
    x = pictures(1, 1, 10, 40)
    with pytest.raises(ValueError, match="sides of at least 11"):
        ssim(x, x)
