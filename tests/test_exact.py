"""The yardstick itself: the denoiser against quadrature, the flow against its equation."""

from __future__ import annotations

import pytest
import torch
from exact import LINE, PROCESSES, THREE, assert_distributed, f64
from torch import Tensor

from inkdrop.diffusion.process import Process


def by_quadrature(process: Process, x: Tensor, t: float) -> Tensor:
    """E[x_0 | x_t = x] of LINE as a ratio of two sums over x_0."""
    x0 = torch.linspace(-4, 4, 40_001, dtype=torch.float64)
    density = torch.zeros_like(x0)
    for mean, std, weight in zip(LINE.means[:, 0], LINE.stds, LINE.weights, strict=True):
        density += weight / std * torch.exp(-0.5 * ((x0 - mean) / std) ** 2)
    now = f64(t)
    z = (x[:, None] - process.alpha(now) * x0) / process.sigma(now)
    joint = density * torch.exp(-0.5 * z**2)
    return (joint * x0).sum(1) / joint.sum(1)


@pytest.mark.parametrize("name", ["linear", "zero_snr", "vp", "ve", "flow"])
def test_the_denoiser_is_the_posterior_mean(name: str) -> None:
    process = PROCESSES[name]
    x = torch.linspace(-2, 2, 17, dtype=torch.float64)
    for level in (4.0, 0.0, -4.0):
        t = process.time_at(f64(level))
        exact = LINE.denoiser(process)(x[:, None], t.expand(17))[:, 0]
        torch.testing.assert_close(exact, by_quadrature(process, x, t.item()), rtol=0, atol=1e-10)


@pytest.mark.parametrize("name", ["linear", "ve", "flow"])
def test_the_flow_obeys_its_differential_equation(name: str) -> None:
    # d(x / alpha) / d(sigma / alpha) = eps, by a small central difference.
    process = PROCESSES[name]
    x = torch.linspace(-1, 1, 9, dtype=torch.float64)
    before, now, after = process.time_at(f64(1.0 - 1e-3, 1.0, 1.0 + 1e-3))
    slope, width = torch.zeros_like(x), 0.0
    for t, sign in ((before, 1), (after, -1)):
        slope += sign * LINE.flow(process, x, now, t) / process.alpha(t)
        width += sign * (process.sigma(t) / process.alpha(t)).item()
    x0 = LINE.denoiser(process)(x[:, None], now.expand(9))[:, 0]
    eps = process.eps(x, x0, now.expand(9))
    torch.testing.assert_close(slope / width, eps, rtol=1e-5, atol=1e-5)


def test_the_check_of_a_distribution_can_fail() -> None:
    x = THREE.sample(2000)
    assert_distributed(x, THREE)
    wider = THREE.means[0] + 1.1 * (x - THREE.means[0])
    fewer = x[torch.cdist(x, THREE.means).argmin(1) != 1]
    for wrong in (x + 0.05, 0.9 * x, wider, fewer):
        with pytest.raises(AssertionError):
            assert_distributed(wrong, THREE)
