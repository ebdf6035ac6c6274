"""Heun against algorithm 1 of EDM."""

from __future__ import annotations

import pytest
import torch
from exact import LINE, PROCESSES, THREE, f64, gaussian

from inkdrop.diffusion.process import Flow, Process
from inkdrop.diffusion.samplers import heun
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def test_heun_on_ve_is_algorithm_1_of_edm() -> None:
    process = PROCESSES["ve"]
    times, denoise = grid(process, "karras", 18), THREE.denoiser(process)
    x = 80 * gaussian(8, 2)
    steps = list(heun(process, denoise, x, times))
    for i, step in enumerate(steps):
        now, s = times[i], times[i + 1]
        d = (x - denoise(x, now.expand(8))) / now
        y = x + (s - now) * d
        if s != 0:
            d2 = (y - denoise(y, s.expand(8))) / s
            y = x + (s - now) * (d + d2) / 2
        x = y
        torch.testing.assert_close(step.x, x, rtol=1e-12, atol=1e-11)


@ALL
def test_heun_is_the_trapezoidal_rule_in_scaled_coordinates(process: Process) -> None:
    times, denoise = grid(process, "logsnr", 20)[1:-1], LINE.denoiser(process)
    alpha = process.alpha(times)
    ratio = process.sigma(times) / alpha

    def eps(y: torch.Tensor, i: int) -> torch.Tensor:
        now = times[i].expand(8)
        return process.eps(alpha[i] * y, denoise(alpha[i] * y, now), now)

    x = process.sigma(times[:1]) * gaussian(8, 1)
    y = x / alpha[0]
    for i in range(len(times) - 1):
        width = ratio[i + 1] - ratio[i]
        first = eps(y, i)
        y = y + width * (first + eps(y + width * first, i + 1)) / 2
    last = list(heun(process, denoise, x, times))[-1].x
    torch.testing.assert_close(last, alpha[-1] * y, rtol=1e-9, atol=1e-9)


def test_where_alpha_is_0_both_predictions_count_alike() -> None:
    process, answers = Flow(), [gaussian(4, 1, seed=1), gaussian(4, 1, seed=2)]
    x, given = gaussian(4, 1), list(answers)
    (step,) = heun(process, lambda x, t: given.pop(0), x, f64(1.0, 0.6))
    middle = (answers[0] + answers[1]) / 2
    expected = process.step(x, middle, f64(1.0)[0], f64(0.6)[0])
    torch.testing.assert_close(step.x, expected, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(step.x0, middle, rtol=1e-12, atol=1e-12)
