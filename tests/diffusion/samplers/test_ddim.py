"""DDIM and Euler against the formulas that were published."""

from __future__ import annotations

import pytest
import torch
from exact import LINE, PROCESSES, THREE, gaussian
from torch import Tensor

from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddim, ddpm, euler
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def close(a: Tensor, b: Tensor) -> None:
    torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


def test_euler_is_eulers_rule_in_sigma_on_ve() -> None:
    process = PROCESSES["ve"]
    times, denoise = grid(process, "karras", 20), THREE.denoiser(process)
    x = 80 * gaussian(8, 2)
    steps = list(euler(process, denoise, x, times))
    for i, step in enumerate(steps):
        now, s = times[i], times[i + 1]
        slope = (x - denoise(x, now.expand(8))) / now
        x = x + slope * (s - now)
        torch.testing.assert_close(step.x, x, rtol=1e-12, atol=1e-11)


@ALL
def test_euler_is_eulers_rule_in_scaled_coordinates(process: Process) -> None:
    # y = x / alpha, sigma~ = sigma / alpha: dy / dsigma~ = eps.
    times, denoise = grid(process, "logsnr", 20)[1:-1], LINE.denoiser(process)
    alpha = process.alpha(times)
    ratio = process.sigma(times) / alpha
    x = process.sigma(times[:1]) * gaussian(8, 1)
    y = x / alpha[0]
    for i in range(len(times) - 1):
        x_t = alpha[i] * y
        eps = process.eps(x_t, denoise(x_t, times[i].expand(8)), times[i].expand(8))
        y = y + eps * (ratio[i + 1] - ratio[i])
    last = list(euler(process, denoise, x, times))[-1].x
    torch.testing.assert_close(last, alpha[-1] * y, rtol=1e-10, atol=1e-10)


@ALL
def test_euler_is_ddim_and_ddim_at_eta_1_is_ddpm(process: Process) -> None:
    times, denoise = grid(process, "logsnr", 10), LINE.denoiser(process)
    x, z = process.t_max * gaussian(8, 1), gaussian(8, 1, seed=1)
    a, b = euler(process, denoise, x, times), ddim(process, denoise, x, times)
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one.x, other.x)
    c = ddim(process, denoise, x, times, eta=1.0, noise=lambda t, s, k=0: z)
    d = ddpm(process, denoise, x, times, noise=lambda t, s, k=0: z)
    for one, other in zip(c, d, strict=True):
        assert torch.equal(one.x, other.x)


def test_ddim_of_one_point_is_exact_at_any_number_of_steps() -> None:
    # If the data is one point, x_0 is known and every step is exact.
    target = gaussian(4, 2, seed=5)
    for process in PROCESSES.values():
        for steps in (1, 3):
            x = process.t_max * gaussian(4, 2)
            for step in ddim(process, lambda x, t: target, x, grid(process, "uniform", steps)):
                last = step.x
            close(last, target)
