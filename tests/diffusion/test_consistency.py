"""The target of distillation against the exact flow of a mixture on the line."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from exact import LINE, PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.consistency import carry, follow, landing, segments
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import VE, VP, Flow, Process
from inkdrop.diffusion.samplers import ddim, dpmpp_2m
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
SMOOTH = pytest.mark.parametrize("process", [VP(), VE(), Flow()], ids=["vp", "ve", "flow"])
N = 48


def at(process: Process, logsnr: Tensor) -> Tensor:
    return process.time_at(logsnr.double())


def states(process: Process, t: Tensor) -> Tensor:
    """Noised data [N, 1] at times t [N]."""
    return process.add_noise(LINE.sample(len(t), seed=3), gaussian(len(t), 1, seed=5), t)


def exact_end(process: Process, x: Tensor, t: Tensor, low: Tensor) -> Tensor:
    """x_low [N, 1] of the ODE, every row with its own times."""
    return LINE.flow(process, x[:, 0], t[:, None], low[:, None])[:, None]


def perfect(process: Process, low: Tensor) -> Denoiser:
    """The consistency function of the segments that end at low [N]."""
    return lambda x, t: landing(process, x, exact_end(process, x, t, low), t, low)


def order(counts: list[int], errors: list[float]) -> float:
    a, b = np.log(counts), np.log(errors)
    return -float(np.polyfit(a, b, 1)[0])


@ALL
def test_follow_is_the_sampler_where_all_share_the_times(process: Process) -> None:
    denoise, times = LINE.denoiser(process), grid(process, "logsnr", 12)
    x = LINE.noisy(process, process.t_max, 16)
    every = times[:, None] * torch.ones(16, dtype=torch.float64)
    for one, run in ((1, ddim), (2, dpmpp_2m)):
        want = list(run(process, denoise, x, times))[-1].x
        got = follow(process, denoise, x, every, order=one)
        torch.testing.assert_close(got, want, rtol=1e-9, atol=1e-9)


def test_follow_gives_each_sample_its_own_times() -> None:
    process = VP()
    denoise, x = LINE.denoiser(process), states(process, torch.full((4,), 0.9).double())
    ways = torch.stack([torch.linspace(0.9, end, 7).double() for end in (0.0, 0.1, 0.3, 0.5)], 1)
    whole = follow(process, denoise, x, ways)
    for i in range(4):
        alone = follow(process, denoise, x[i : i + 1], ways[:, i : i + 1])
        torch.testing.assert_close(whole[i : i + 1], alone, rtol=1e-12, atol=1e-12)


@ALL
def test_landing_undoes_a_step(process: Process) -> None:
    t, s = (process.t_max * torch.linspace(a, b, 8).double() for a, b in ((1, 0.3), (0.7, 0)))
    x, z = gaussian(8, 3), gaussian(8, 3, seed=1)
    torch.testing.assert_close(process.step(x, landing(process, x, z, t, s), t, s), z)
    torch.testing.assert_close(landing(process, x, process.step(x, z, t, s), t, s), z)


@SMOOTH
@pytest.mark.parametrize("solver", [1, 2])
def test_rollout_target_is_the_flows_with_the_solvers_order(process: Process, solver: int) -> None:
    start, end = torch.linspace(-5, 1, N), torch.linspace(-1, 4, N)
    t, low = at(process, start), at(process, end)
    x = states(process, t)
    want = landing(process, x, exact_end(process, x, t, low), t, low)
    counts, errors = [16, 32, 64, 128], []
    for n in counts:
        ways = at(process, start + (end - start) * torch.linspace(0, 1, n + 1)[:, None])
        z = follow(process, LINE.denoiser(process), x, ways, order=solver)
        got = landing(process, x, z, t, low)
        errors.append((got - want).square().mean().sqrt().item())
    assert order(counts, errors) > solver - 0.25


@SMOOTH
def test_a_perfect_consistency_function_is_a_fixed_point(process: Process) -> None:
    t, low = at(process, torch.linspace(-4, 1, N)), at(process, torch.linspace(0, 4, N))
    x, student = states(process, t), perfect(process, low)
    want = student(x, t)
    # With the exact flow as the move it is one to rounding, wherever the move ends.
    for share in (0.0, 0.4, 1.0):
        s = torch.lerp(t, low, share)
        z = carry(process, student, exact_end(process, x, t, s), s, low)
        torch.testing.assert_close(landing(process, x, z, t, low), want, rtol=1e-6, atol=1e-8)
    # With a short step of the teacher's it is one to that step's local error, of second order.
    counts, errors = [16, 32, 64, 128], []
    for n in counts:
        s = t + (low - t) / n
        y = process.step(x, LINE.denoiser(process)(x, t), t, s)
        got = landing(process, x, carry(process, student, y, s, low), t, low)
        errors.append((got - want).abs().mean().item())
    assert order(counts, errors) > 1.7


def posterior(process: Process, x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Nodes x_0 and weights of p(x_0 | x_t) for one x_t []: Gauss-Hermite in each component."""
    nodes, mass = (torch.from_numpy(v) for v in np.polynomial.hermite_e.hermegauss(48))
    alpha, sigma = process.alpha(t), process.sigma(t)
    variance = (alpha * LINE.stds) ** 2 + sigma**2
    gap = x - alpha * LINE.means[:, 0]
    share = (LINE.weights.log() - 0.5 * (gap**2 / variance + variance.log())).softmax(0)
    mean = LINE.means[:, 0] + alpha * LINE.stds**2 / variance * gap
    spread = LINE.stds * sigma / variance.sqrt()
    x0 = mean[:, None] + spread[:, None] * nodes
    return x0.flatten(), (share[:, None] * mass / math.sqrt(2 * math.pi)).flatten()


@SMOOTH
def test_the_datas_own_move_is_unbiased_as_the_gap_closes(process: Process) -> None:
    points = at(process, torch.tensor([-3.0, -1.0, 0.5]))
    low = at(process, torch.tensor([2.0]))
    x = states(process, points)
    counts, errors = [8, 16, 32, 64], []
    for n in counts:
        bias = 0.0
        for one, t in zip(x, points, strict=True):
            x0, weight = posterior(process, one, t)
            here, now, end = one.expand(len(x0), 1), t.expand(len(x0)), low.expand(len(x0))
            s = now + (end - now) / n
            student = perfect(process, end)
            z = carry(process, student, process.step(here, x0[:, None], now, s), s, end)
            mean = (weight * landing(process, here, z, now, end)[:, 0]).sum()
            bias += (mean - student(here, now)[0, 0]).abs().item()
        errors.append(bias)
    assert order(counts, errors) > 1.6


def test_segments_are_cut_from_a_grid() -> None:
    path = grid(VP(), "uniform", 12)
    assert segments(path, 4).tolist() == [1.0, 0.75, 0.5, 0.25, 0.0]
    assert len(segments(path, 1)) == 2
    for parts in (0, 5):
        with pytest.raises(ValueError, match=f"12 steps cannot be cut into {parts} equal parts"):
            segments(path, parts)
    with pytest.raises(ValueError, match="order is 3"):
        follow(VP(), LINE.denoiser(VP()), gaussian(2, 1), f64(1, 0)[:, None], order=3)
