"""The ODE's likelihood against the closed-form density of a mixture."""

from __future__ import annotations

import math

import pytest
import torch
from exact import LINE, PROCESSES, THREE, Mixture, f64
from torch import Tensor

from inkdrop.diffusion.ode_likelihood import ode_likelihood
from inkdrop.diffusion.process import Process

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


def log_density(mixture: Mixture, process: Process, x: Tensor) -> Tensor:
    """log p of x / alpha at t_min, [B]."""
    t = f64(process.t_min)
    noise = (process.sigma(t) / process.alpha(t)) ** 2
    variance = mixture.stds**2 + noise
    squared = torch.cdist(x, mixture.means).square() / variance
    each = -0.5 * (squared + x.shape[1] * (2 * math.pi * variance).log())
    return (mixture.weights.log() + each).logsumexp(1)


@ALL
@pytest.mark.parametrize("mixture", [LINE, THREE], ids=["line", "plane"])
def test_the_exact_trace_gives_the_density_within_the_stated_error(
    process: Process, mixture: Mixture
) -> None:
    x = mixture.sample(40, seed=3)
    said = ode_likelihood(process, mixture.denoiser(process), x, steps=64, probes=None, levels=None)
    want = -log_density(mixture, process, x) / math.log(2) / x.shape[1]
    # Beyond the steps there is the prior, which leaves out the data's own spread and mean.
    start = f64(process.t_start)
    prior = float(process.alpha(start) / process.sigma(start))
    assert (said.bits - want).abs().max() < said.step_error.max() + 10 * prior + 1e-3
    assert torch.equal(said.probe_error, torch.zeros(40, dtype=torch.float64))


def test_the_steps_are_of_order_four() -> None:
    process, x = PROCESSES["ve"], LINE.sample(30, seed=3)
    runs = [
        ode_likelihood(process, LINE.denoiser(process), x, steps=n, probes=None, levels=None)
        for n in (128, 256)
    ]
    assert 8 < float(runs[0].step_error.mean() / runs[1].step_error.mean()) < 32


def test_probes_are_right_within_their_own_error_and_keyed() -> None:
    process, x = PROCESSES["vp"], THREE.sample(200, seed=3)
    denoise = THREE.denoiser(process)
    exact = ode_likelihood(process, denoise, x, probes=None, levels=None)
    random = ode_likelihood(process, denoise, x, probes=16, levels=None)
    z = (random.bits - exact.bits) / random.probe_error.clamp(min=1e-4)
    assert z.abs().mean() < 1.5 and z.mean().abs() < 0.3
    again = ode_likelihood(process, denoise, x[:3], probes=16, levels=None)
    torch.testing.assert_close(again.bits, random.bits[:3], rtol=1e-9, atol=1e-9)


def test_bits_of_discrete_data_are_those_of_their_distribution() -> None:
    # A wide Gaussian on many levels: the entropy of the rounded data is the density's, in levels.
    wide = Mixture(means=f64(0.0)[:, None], stds=f64(0.3), weights=f64(1.0))
    x = ((wide.sample(4000, seed=3) + 1) * 127.5).round() / 127.5 - 1
    process = PROCESSES["cosine"]
    said = ode_likelihood(process, wide.denoiser(process), x, probes=None)
    entropy = 0.5 * math.log2(2 * math.pi * math.e * (0.3 * 127.5) ** 2)
    assert abs(said.bits.mean() - entropy) < 0.05


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"steps": 5}, "steps is 5: give an even number"),
        ({"probes": 1}, "probes is 1: give at least 2"),
    ],
)
def test_bad_requests(asked: dict[str, int], said: str) -> None:
    process = PROCESSES["vp"]
    with pytest.raises(ValueError, match=said):
        ode_likelihood(process, LINE.denoiser(process), LINE.sample(2), **asked)
