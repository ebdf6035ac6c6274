"""DPM-Solver++(2M) and its SDE against the exponential form of their papers."""

from __future__ import annotations

import math

import pytest
import torch
from exact import LINE, PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.process import Flow, Process
from inkdrop.diffusion.samplers import ddim, dpmpp_2m
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def published(process: Process, x: Tensor, times: Tensor, noise: Tensor | None) -> Tensor:
    """Lu et al. 2022, algorithm 2, in lambda = log(alpha / sigma); with noise [N, B, D] its SDE."""
    denoise = LINE.denoiser(process)
    alpha, sigma = process.alpha(times), process.sigma(times)
    level = alpha.log() - sigma.log()
    before, h_before = torch.zeros_like(x), math.nan
    for i in range(len(times) - 1):
        h = (level[i + 1] - level[i]).item()
        d = x0 = denoise(x, times[i].expand(len(x)))
        if i:
            r = h_before / h
            d = (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        before, h_before = x0, h
        ratio = sigma[i + 1] / sigma[i]
        if noise is None:
            x = ratio * x - alpha[i + 1] * math.expm1(-h) * d
        else:
            x = ratio * math.exp(-h) * x - alpha[i + 1] * math.expm1(-2 * h) * d
            x = x + sigma[i + 1] * math.sqrt(-math.expm1(-2 * h)) * noise[i]
    return x


@ALL
@pytest.mark.parametrize("kind", ["logsnr", "karras", "uniform"])
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_it_is_the_published_exponential_form(process: Process, kind: str, eta: float) -> None:
    times = grid(process, kind, 16)[1:-1]  # log-SNR finite at both ends
    x = process.sigma(times[:1]) * gaussian(8, 1)
    noise = gaussian(len(times), 8, 1, seed=4)
    drawn, denoise = iter(noise), LINE.denoiser(process)
    run = dpmpp_2m(process, denoise, x, times, eta=eta, noise=lambda t, s, k=0: next(drawn))
    last = list(run)[-1].x
    expected = published(process, x, times, noise if eta else None)
    torch.testing.assert_close(last, expected, rtol=1e-12, atol=1e-12)


@ALL
def test_the_first_and_the_last_step_are_ddims(process: Process) -> None:
    times, denoise = grid(process, "logsnr", 6), LINE.denoiser(process)
    x = process.t_max * gaussian(4, 1)
    steps = list(dpmpp_2m(process, denoise, x, times))
    first = next(iter(ddim(process, denoise, x, times)))
    assert torch.equal(steps[0].x, first.x)
    assert torch.equal(steps[-1].x, steps[-1].x0)


def test_after_alpha_0_the_second_step_is_first_order_too() -> None:
    process, denoise, times = Flow(), LINE.denoiser(Flow()), f64(1.0, 0.7, 0.4, 0.2)
    x = gaussian(4, 1)
    multi, single = dpmpp_2m(process, denoise, x, times), ddim(process, denoise, x, times)
    pairs = [(a.x, b.x) for a, b in zip(multi, single, strict=True)]
    assert torch.equal(*pairs[0])
    assert torch.equal(*pairs[1])
    assert not torch.equal(*pairs[2])
