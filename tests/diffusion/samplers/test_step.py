"""What every sampler shares: a checked grid, and no step that is silently broken."""

from __future__ import annotations

import math

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.process import VP
from inkdrop.diffusion.samplers.ddim import ddim
from inkdrop.diffusion.samplers.step import Walk


def half(x: Tensor, t: Tensor) -> Tensor:
    return 0.5 * x


@pytest.mark.parametrize("name", PROCESSES)
@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_a_walks_step_is_the_process_step(name: str, eta: float) -> None:
    process = PROCESSES[name]
    times = torch.tensor([1, 0.6, 0.3, 0.1, 0], dtype=torch.float64) * process.t_max
    x, x0, noise = (gaussian(3, 2, 5, seed=i) for i in range(3))
    walk = Walk(process, x, times, eta)
    for i in range(4):
        expected = process.step(x, x0, times[i], times[i + 1], eta, noise)
        actual = walk.step(i, x, x0, lambda t, s, k=0: noise)
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("times", [f64(0.5), f64(0.5, 0.5, 0), f64(0, 0.5), f64(1, math.nan, 0)])
def test_a_grid_that_does_not_fall_is_an_error(times: Tensor) -> None:
    with pytest.raises(ValueError, match=r"a decreasing sequence of at least two times"):
        list(ddim(VP(), half, gaussian(2, 1), times))


@pytest.mark.parametrize("times", [f64(1.5, 0.5), f64(0.5, -0.1)])
def test_a_grid_outside_the_process_is_an_error(times: Tensor) -> None:
    with pytest.raises(ValueError, match=r"within the range of the process, 0 to 1"):
        list(ddim(VP(), half, gaussian(2, 1), times))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_prediction_that_is_not_finite_names_the_step(bad: float) -> None:
    def denoise(x: Tensor, t: Tensor) -> Tensor:
        x0 = half(x, t)
        if t[0] < 0.6:
            x0[1, 0] = bad
        return x0

    run = ddim(VP(), denoise, gaussian(3, 2), f64(1, 0.75, 0.5, 0.25, 0))
    done = [next(run), next(run)]
    assert all(step.x.isfinite().all() for step in done)
    with pytest.raises(FloatingPointError, match=r"step 3 of 4 .t = 0.5 to 0.25.*prediction of x0"):
        next(run)


def test_a_state_that_overflows_is_told_from_a_broken_network() -> None:
    huge = torch.full((1, 1), 3.3e38)
    with pytest.raises(FloatingPointError, match=r"the state is not finite"):
        list(ddim(VP(), lambda x, t: huge, huge, f64(1, 0.3)))


def test_large_but_finite_numbers_are_no_error() -> None:
    # Their sum overflows float32 and none of them does.
    x = torch.full((2, 8), 2e38)
    steps = list(ddim(Discrete("linear"), lambda x, t: x, x, f64(1, 0.999)))
    assert steps[-1].x.isfinite().all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_state_keeps_its_precision(dtype: torch.dtype) -> None:
    for step in ddim(VP(), half, gaussian(2, 3).to(dtype), f64(1, 0.5, 0)):
        assert step.x.dtype == dtype
        assert step.x0.dtype == dtype


def test_grad_mode_is_left_alone() -> None:
    x = gaussian(2, 1).requires_grad_()
    run = ddim(VP(), half, x, f64(1, 0.5, 0.1))
    with torch.no_grad():
        first = next(run)
    assert torch.is_grad_enabled()
    assert not first.x.requires_grad
    last = list(ddim(VP(), half, x, f64(1, 0.5, 0.1)))[-1]
    last.x.sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert (x.grad != 0).all()
