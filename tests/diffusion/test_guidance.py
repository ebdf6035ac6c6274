"""Classifier-free guidance against its formula in eps, and what it costs."""

from __future__ import annotations

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.diffusion.guidance import bind, cfg
from inkdrop.diffusion.process import Process

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())


class Labelled:
    """A predictor whose answer depends on x, t and the label; it notes the size of every call."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def __call__(self, x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.label is not None
        assert len(x) == len(t) == len(cond.label)
        self.sizes.append(len(x))
        pull = (cond.label.double() + 1) / (1 + t)
        return torch.tanh(x) * pull.view(-1, *([1] * (x.ndim - 1)))


COND, NULL = Cond(label=torch.tensor([0, 1, 2])), Cond(label=torch.tensor([9, 9, 9]))


@ALL
@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0, 7.5])
@pytest.mark.parametrize("batched", [True, False])
def test_it_is_the_formula_in_eps(process: Process, scale: float, batched: bool) -> None:
    predict = Labelled()
    t = process.time_at(f64(3.0, 0.0, -3.0))
    x = gaussian(3, 2, 4)
    guided = cfg(predict, COND, NULL, scale, batched=batched)(x, t)
    eps = process.eps(x, predict(x, t, COND), t)
    null = process.eps(x, predict(x, t, NULL), t)
    expected = null + scale * (eps - null)
    torch.testing.assert_close(process.eps(x, guided, t), expected, rtol=1e-12, atol=1e-12)


def test_one_batched_call_or_two_small_ones() -> None:
    x, t = gaussian(3, 2), f64(0.1, 0.2, 0.3)
    one, two = Labelled(), Labelled()
    a = cfg(one, COND, NULL, 3.0)(x, t)
    b = cfg(two, COND, NULL, 3.0, batched=False)(x, t)
    assert one.sizes == [6]
    assert two.sizes == [3, 3]
    torch.testing.assert_close(a, b, rtol=1e-14, atol=1e-14)


def test_scale_1_is_the_conditional_model_at_one_evaluation() -> None:
    x, t = gaussian(3, 2), f64(0.1, 0.2, 0.3)
    predict = Labelled()
    assert torch.equal(cfg(predict, COND, NULL, 1.0)(x, t), predict(x, t, COND))
    assert predict.sizes == [3, 3]
    assert torch.equal(bind(predict, COND)(x, t), predict(x, t, COND))


def test_scale_0_is_the_unconditional_model() -> None:
    x, t = gaussian(3, 2), f64(0.1, 0.2, 0.3)
    predict = Labelled()
    assert torch.equal(cfg(predict, COND, NULL, 0.0)(x, t), predict(x, t, NULL))


def test_guidance_of_gaussians_is_the_sharpened_gaussian() -> None:
    # p(x|c)^s p(x)^(1-s) of two unit-variance Gaussians is a Gaussian at s m_c + (1 - s) m, and at
    # every noise level its score is that of the guided denoiser.
    process, t, scale = PROCESSES["vp"], f64(0.2, 0.5, 0.9), 4.0
    alpha = process.alpha(t)[:, None]

    def predict(x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.vector is not None
        a, b = process.alpha(t)[:, None], process.sigma(t)[:, None]
        return cond.vector + a / (a**2 + b**2) * (x - a * cond.vector)

    mean, null = gaussian(3, 2, seed=1), gaussian(3, 2, seed=2)
    x = gaussian(3, 2)
    guided = cfg(predict, Cond(vector=mean), Cond(vector=null), scale)(x, t)
    middle = scale * mean + (1 - scale) * null
    expected = middle + alpha * (x - alpha * middle)  # alpha^2 + sigma^2 = 1
    torch.testing.assert_close(guided, expected, rtol=1e-12, atol=1e-12)


def test_tokens_of_different_lengths_are_guided_in_one_call() -> None:
    def predict(x: Tensor, t: Tensor, cond: Cond) -> Tensor:
        assert cond.tokens is not None
        kept = cond.tokens if cond.mask is None else cond.tokens * cond.mask[..., None]
        return x + kept.sum((1, 2))[:, None]

    long, short = Cond(tokens=gaussian(2, 5, 3)), Cond(tokens=gaussian(2, 1, 3, seed=1))
    x, t = gaussian(2, 4), f64(0.5, 0.5)
    one = cfg(predict, long, short, 2.0)(x, t)
    two = cfg(predict, long, short, 2.0, batched=False)(x, t)
    torch.testing.assert_close(one, two, rtol=1e-13, atol=1e-13)
