"""Clipping is a wrapper that holds x_0 in range and touches nothing of others."""

from __future__ import annotations

import pytest
import torch
from exact import f64, gaussian
from torch import Tensor

from inkdrop.diffusion.constraints import clip, threshold
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.times import grid


def test_it_holds_x0_in_range() -> None:
    x, t = 3 * gaussian(4, 5), f64(0.1, 0.2, 0.3, 0.4)
    clipped = clip(lambda x, t: 2 * x)(x, t)
    assert torch.equal(clipped, (2 * x).clamp(-1, 1))
    assert torch.equal(clip(lambda x, t: x, 0.0, 0.5)(x, t), x.clamp(0, 0.5))


def test_it_does_not_write_into_what_it_is_given() -> None:
    # A denoiser may return its input, or a tensor that it keeps.
    x, kept = 3 * gaussian(4, 5), 3 * gaussian(4, 5, seed=1)
    before, inside = x.clone(), kept.clone()
    clip(lambda x, t: x)(x, f64(0, 0, 0, 0))
    clip(lambda x, t: kept)(x, f64(0, 0, 0, 0))
    assert torch.equal(x, before)
    assert torch.equal(kept, inside)


def test_it_stops_an_error_of_eps_from_running_away() -> None:
    # At the end of the cosine table x_0 = (x - sigma eps) / alpha makes 20,000 of an error of 1.
    process = Discrete("cosine")

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return (x - sigma * (sigma * x + 0.01)) / alpha

    times = grid(process, "trailing", 10)
    first = next(iter(ddim(process, denoise, gaussian(4, 2), times)))
    assert first.x0.abs().max() > 100
    last = list(ddim(process, clip(denoise), gaussian(4, 2), times))[-1]
    assert last.x.abs().max() <= 1


def test_gradients_pass_inside_the_range() -> None:
    x = f64(-2.0, 0.5)[:, None].requires_grad_()
    clip(lambda x, t: x * 1)(x, f64(0, 0)).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.flatten().tolist() == [0, 1]


def test_dynamic_thresholding_divides_by_the_quantile_of_each_sample() -> None:
    wide, narrow = torch.linspace(-4, 4, 801), torch.linspace(-0.5, 0.5, 801)
    x = torch.stack([wide, narrow])
    held = threshold(lambda x, t: x, 0.75)(x, torch.zeros(2))
    # The 0.75 quantile of |x| is 3 in the first; the second is inside [-1, 1] and left alone.
    torch.testing.assert_close(held[0], (wide / 3).clamp(-1, 1), rtol=0, atol=1e-2)
    assert torch.equal(held[1], narrow)
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        threshold(lambda x, t: x, 1.5)
