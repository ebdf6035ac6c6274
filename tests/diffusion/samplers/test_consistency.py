"""Multistep consistency sampling with an exact consistency function: the end of the ODE."""

from __future__ import annotations

import pytest
import torch
from exact import PROCESSES, Mixture, assert_distributed, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import VP, Process
from inkdrop.diffusion.samplers import consistency, sampler
from inkdrop.diffusion.times import grid

# Far enough apart for a sample's component to be known.
APART = Mixture(means=f64(-1.1, 0.9)[:, None], stds=f64(0.15, 0.25), weights=f64(0.4, 0.6))


def perfect(process: Process, mixture: Mixture) -> Denoiser:
    """The end of the ODE from x [N, 1] at a time that all share."""
    return lambda x, t: mixture.flow(process, x[:, 0], t[0], f64(0)[0])[:, None]


def draw(process: Process, denoise: Denoiser, steps: int) -> Tensor:
    spacing = "uniform" if process.t_max == 1 else "karras"
    x = APART.noisy(process, process.t_max, 4000)
    noise = lambda t, s, k=0: gaussian(4000, 1, seed=int(1e6 * s))  # noqa: E731
    return list(consistency(process, denoise, x, grid(process, spacing, steps), noise=noise))[-1].x


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
@pytest.mark.parametrize("steps", [1, 2, 5])
def test_an_exact_consistency_function_draws_the_exact_distribution(
    process: Process, steps: int
) -> None:
    assert_distributed(draw(process, perfect(process, APART), steps), APART)


def test_the_mean_in_its_place_draws_a_narrower_one() -> None:
    spread = draw(VP(), APART.denoiser(VP()), 5).std()
    assert spread < 0.8 * APART.sample(4000).std()


def test_its_other_name() -> None:
    assert sampler("lcm") is consistency


def test_one_step_is_the_prediction() -> None:
    process, x = VP(), gaussian(8, 1)
    times = torch.tensor([1.0, 0.0], dtype=torch.float64)
    (step,) = consistency(process, APART.denoiser(process), x, times)
    torch.testing.assert_close(step.x, APART.denoiser(process)(x, f64(1.0)), rtol=1e-12, atol=0)
