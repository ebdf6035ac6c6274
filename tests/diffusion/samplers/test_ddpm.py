"""DDPM's two variances between neighbouring steps and over longer strides."""

from __future__ import annotations

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete, betas
from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddpm, ddpm_beta, ddpm_learned
from inkdrop.diffusion.samplers.step import Sampler
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def drawn(sampler: Sampler, process: Process, times: Tensor) -> list[Tensor]:
    """The factor of the noise in each step: where unit noise leads from x = x_0 = 0."""
    zero, one = torch.zeros(1, 1, dtype=torch.float64), torch.ones(1, 1, dtype=torch.float64)
    factors = []
    for i in range(len(times) - 1):
        pair = times[i : i + 2]
        (step,) = sampler(process, lambda x, t: zero, zero, pair, noise=lambda t, s, k=0: one)
        factors.append(step.x[0, 0])
    return factors


@pytest.mark.parametrize("schedule", ["linear", "cosine", "scaled_linear", "sigmoid"])
def test_the_variances_are_beta_tilde_and_beta(schedule: str) -> None:
    process, beta = Discrete(schedule, 50), betas(schedule, 50)
    bar = torch.cat([f64(1), (1 - beta).cumprod(0)])
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * beta
    times = grid(process, "uniform", 50)
    small = torch.stack(drawn(ddpm, process, times)).flip(0) ** 2
    large = torch.stack(drawn(ddpm_beta, process, times)).flip(0) ** 2
    torch.testing.assert_close(small, tilde, rtol=1e-10, atol=1e-15)
    torch.testing.assert_close(large[1:], beta[1:], rtol=1e-10, atol=1e-15)
    assert large[0] == 0  # the last step draws nothing


@ALL
def test_the_larger_variance_is_that_of_the_forward_stride(process: Process) -> None:
    times = grid(process, "logsnr", 12)
    large = torch.stack(drawn(ddpm_beta, process, times))[:-1]
    zero, one = torch.zeros(11, dtype=torch.float64), torch.ones(11, dtype=torch.float64)
    forward = process.renoise(zero, times[1:-1], times[:-2], one)
    torch.testing.assert_close(large, forward, rtol=1e-10, atol=1e-13)


@ALL
def test_the_two_agree_but_for_the_noise(process: Process) -> None:
    times = grid(process, "logsnr", 6)
    x, x0 = gaussian(3, 2, seed=1), gaussian(3, 2, seed=2)
    quiet = torch.zeros_like(x)
    a = ddpm(process, lambda x, t: x0, x, times, noise=lambda t, s, k=0: quiet)
    b = ddpm_beta(process, lambda x, t: x0, x, times, noise=lambda t, s, k=0: quiet)
    for one, other in zip(a, b, strict=True):
        assert torch.equal(one.x, other.x)


@ALL
def test_the_learned_variance_is_exact_where_the_true_one_is_told(process: Process) -> None:
    # Data N(m, s^2): p(x_s | x_t) is Gaussian, so the true mean and variance make few steps exact.
    m, spread, n = 0.4, 0.3, 40_000
    times = process.time_at(torch.linspace(-4, 4, 5, dtype=torch.float64))
    alpha, sigma = process.alpha(times), process.sigma(times)
    leg = process.coefficients(times[:-1], times[1:], eta=1.0)

    def denoise(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        i = int((times == t[0]).nonzero())
        total = (alpha[i] * spread) ** 2 + sigma[i] ** 2
        x0 = m + alpha[i] * spread**2 / total * (x - alpha[i] * m)
        left = spread**2 * sigma[i] ** 2 / total  # variance of x_0 given x_t
        true = leg[2][i] ** 2 + leg[1][i] ** 2 * left
        ends = 2 * leg[2][i].log(), 2 * (leg[2][i] * sigma[i] / sigma[i + 1]).log()
        fraction = 2 * (true.log() - ends[0]) / (ends[1] - ends[0]) - 1
        return x0, fraction.expand_as(x)

    x = alpha[0] * (m + spread * gaussian(n, 1, seed=3)) + sigma[0] * gaussian(n, 1, seed=4)
    noise = SeededNoise(5, (0,), (n, 1), process, dtype=torch.float64)
    for step in ddpm_learned(process, denoise, x, times, noise=lambda t, s, k=0: noise(t, s, k)[0]):
        x = step.x
    want = ((alpha[-1] * spread) ** 2 + sigma[-1] ** 2).sqrt()
    assert abs(x.mean() - alpha[-1] * m) < 4.5 * want / n**0.5
    assert abs(x.std() / want - 1) < 4.5 / (2 * n) ** 0.5


def test_a_denoiser_without_variance_is_refused() -> None:
    process = PROCESSES["vp"]
    run = ddpm_learned(process, lambda x, t: x, gaussian(2, 1), grid(process, "logsnr", 4))
    with pytest.raises(ValueError, match="predicts its variance, and this one does not; use ddpm"):
        list(run)
