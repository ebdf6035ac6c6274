"""Classifier-free guidance against its formula in eps, and what it costs."""

from __future__ import annotations

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.diffusion.guidance import (
    autoguidance,
    bind,
    cfg,
    cfgpp,
    classifier,
    compose,
    guide,
    interval,
    pictured,
    projected,
    rescaled,
    scaled,
)
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import ddim
from inkdrop.diffusion.times import grid

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


@ALL
@pytest.mark.parametrize("batched", [True, False])
def test_words_and_a_picture_each_have_a_scale(process: Process, batched: bool) -> None:
    predict, picture = Labelled(), Cond(label=torch.tensor([4, 5, 6]))
    t, x = process.time_at(f64(3.0, 0.0, -3.0)), gaussian(3, 2, 4)
    x0 = pictured(predict, COND, picture, NULL, 7.5, 1.5, batched=batched)(x, t)
    assert predict.sizes == ([9] if batched else [3, 3, 3])
    both, wordless, null = (
        process.eps(x, predict(x, t, cond), t) for cond in (COND, picture, NULL)
    )
    expected = null + 1.5 * (wordless - null) + 7.5 * (both - wordless)
    torch.testing.assert_close(process.eps(x, x0, t), expected, rtol=1e-12, atol=1e-12)


def test_conditions_of_different_batches_are_refused() -> None:
    two, three = (Cond(label=torch.zeros(n, dtype=torch.int64)) for n in (2, 3))
    with pytest.raises(ValueError, match="for 2 and 3 samples"):
        guide(lambda x, t, cond: x, two, three, lambda x0, null, t: x0)


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


T3 = f64(0.1, 0.2, 0.3)


def both(x: Tensor) -> tuple[Tensor, Tensor]:
    """The prediction with the condition and without."""
    return Labelled()(x, T3, COND), Labelled()(x, T3, NULL)


def test_rescale_brings_the_spread_back() -> None:
    x = gaussian(3, 64)
    x0, null = both(x)
    plain = scaled(7.0)(x0, null, T3)
    full, half = rescaled(7.0, 1.0)(x0, null, T3), rescaled(7.0, 0.5)(x0, null, T3)
    torch.testing.assert_close(full.std(1), x0.std(1))
    torch.testing.assert_close(full.mean(1), plain.mean(1))
    assert (plain.std(1) > 1.2 * x0.std(1)).all()
    torch.testing.assert_close(half, (full + plain) / 2)
    torch.testing.assert_close(rescaled(7.0, 0.0)(x0, null, T3), plain)


def test_projected_guidance_adds_nothing_along_the_prediction() -> None:
    x0, null = gaussian(3, 8, seed=1), gaussian(3, 8, seed=2)
    whole = projected(4.0, parallel=1.0)(x0, null, T3)
    torch.testing.assert_close(whole, scaled(4.0)(x0, null, T3), rtol=1e-12, atol=1e-12)
    across = projected(4.0)(x0, null, T3) - x0
    assert (across * x0).sum(1).abs().max() < 1e-12
    assert (across.norm(dim=1) > 1).all()
    short = projected(2.0, parallel=1.0, longest=0.5)(x0, null, T3) - x0
    torch.testing.assert_close(short.norm(dim=1), f64(0.5, 0.5, 0.5))
    moving = projected(2.0, parallel=1.0, momentum=-0.75)
    first, second = moving(x0, null, T3), moving(x0, null, T3)
    torch.testing.assert_close(first - x0, x0 - null)
    torch.testing.assert_close(second - x0, 0.25 * (x0 - null))


@ALL
def test_cfgpp_is_ddim_with_the_null_noise(process: Process) -> None:
    times = grid(process, "logsnr", 6)[1:]
    predict = Labelled()
    denoise = guide(predict, COND, NULL, cfgpp(process, times, 0.6))
    x = gaussian(3, 2)
    for i, step in enumerate(ddim(process, denoise, x, times)):
        t, s = times[i].expand(3), times[i + 1].expand(3)
        x0, null = predict(x, t, COND), predict(x, t, NULL)
        eps = process.eps(x, null, t)
        mixed = null + 0.6 * (x0 - null)
        x = process.alpha(s)[:, None] * mixed + process.sigma(s)[:, None] * eps
        torch.testing.assert_close(step.x, x, rtol=1e-9, atol=1e-9)


def test_composition_of_one_is_guidance_and_of_two_adds_up() -> None:
    x = gaussian(3, 2)
    other = Cond(label=torch.tensor([4, 4, 4]))
    one = compose(Labelled(), [COND], [3.0], NULL)(x, T3)
    torch.testing.assert_close(one, cfg(Labelled(), COND, NULL, 3.0)(x, T3))
    predict = Labelled()
    two = compose(predict, [COND, other], [2.0, -1.0], NULL)(x, T3)
    assert predict.sizes == [9]
    a, b, null = (Labelled()(x, T3, cond) for cond in (COND, other, NULL))
    torch.testing.assert_close(two, null + 2 * (a - null) - (b - null))
    with pytest.raises(ValueError, match="one weight for each"):
        compose(predict, [COND], [1.0, 2.0], NULL)


def test_autoguidance_leads_away_from_the_weak() -> None:
    strong, weak = bind(Labelled(), COND), bind(Labelled(), NULL)
    x = gaussian(3, 2)
    expected = weak(x, T3) + 2.5 * (strong(x, T3) - weak(x, T3))
    torch.testing.assert_close(autoguidance(strong, weak, 2.5)(x, T3), expected)
    assert autoguidance(strong, weak, 1.0) is strong


def test_the_interval_guides_inside_and_saves_calls_outside() -> None:
    process = PROCESSES["ve"]  # its time is sigma / alpha
    inside, outside = Labelled(), Labelled()
    denoise = interval(process, cfg(inside, COND, NULL, 5.0), bind(outside, COND), 0.3, 2.0)
    x = gaussian(3, 2)
    for level in (0.2, 0.3, 0.5, 2.0, 3.0):
        denoise(x, f64(level).expand(3))
    assert inside.sizes == [6, 6]
    assert outside.sizes == [3, 3, 3]
    mixed = denoise(x, f64(0.2, 0.5, 3.0))
    torch.testing.assert_close(mixed[1], cfg(Labelled(), COND, NULL, 5.0)(x, f64(0.2, 0.5, 3.0))[1])
    torch.testing.assert_close(mixed[2], Labelled()(x, f64(0.2, 0.5, 3.0), COND)[2])
    with pytest.raises(ValueError, match="low must be below high"):
        interval(process, bind(inside, COND), bind(outside, COND), 2.0, 1.0)


@ALL
def test_classifier_guidance_of_a_gaussian_is_its_posterior(process: Process) -> None:
    # x_0 ~ N(0, 1) and y = x_0 + noise of variance 1: E[x_0 | x_t, y] by Bayes' rule.
    y, t = 0.7, process.time_at(f64(0.5)).expand(3)
    alpha, sigma = process.alpha(t)[0], process.sigma(t)[0]
    variance = sigma**2 / (alpha**2 + sigma**2)  # of x_0 given x_t

    def prior(x: Tensor, t: Tensor) -> Tensor:
        return alpha / (alpha**2 + sigma**2) * x

    def log_probability(x: Tensor, t: Tensor) -> Tensor:
        return (-0.5 * (y - prior(x, t)) ** 2 / (1 + variance)).sum(1)

    x = gaussian(3, 1)
    exact = prior(x, t) + variance / (1 + variance) * (y - prior(x, t))
    guided = classifier(process, prior, log_probability, 1.0)(x, t)
    torch.testing.assert_close(guided, exact, rtol=1e-10, atol=1e-10)
