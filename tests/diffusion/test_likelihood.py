"""The bound against the entropy of data whose best denoiser is known."""

from __future__ import annotations

import math

import pytest
import torch
from exact import Mixture, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.likelihood import bits_per_dimension, prior_bits
from inkdrop.diffusion.losses import posterior_logvar
from inkdrop.diffusion.process import VP

MEAN, STD = 0.1, 0.25
LEVELS = torch.linspace(-1, 1, 256, dtype=torch.float64)


def masses() -> Tensor:
    """What N(MEAN, STD^2) gives to each of 256 levels; the outermost reach to infinity."""
    edges = (LEVELS[:-1] + LEVELS[1:]) / 2
    below = torch.special.ndtr((edges - MEAN) / STD)
    return torch.cat([below, f64(1)]) - torch.cat([f64(0), below])


def even_data(n: int) -> Tensor:
    """n samples in the proportions of `masses`, without chance."""
    u = (torch.arange(n, dtype=torch.float64) + 0.5) / n
    return LEVELS[torch.searchsorted(masses().cumsum(0), u).clamp(max=255)]


def noise(shape: tuple[int, ...]) -> Tensor:
    """[251, *shape] Gaussian."""
    return gaussian(251, *shape, seed=9)


def entropy() -> float:
    """Of the data, in bits."""
    p = masses()
    return -(p[p > 0] * p[p > 0].log2()).sum().item()


PROCESS, DATA = Discrete("cosine", steps=250), Mixture(f64(MEAN)[:, None], f64(STD), f64(1))


def test_the_exact_denoiser_has_the_exact_bound() -> None:
    n = 512
    x0, eps, exact = even_data(n)[:, None], noise((n, 1)), DATA.denoiser(PROCESS)
    bound = bits_per_dimension(PROCESS, exact, x0, lambda i: eps[i])
    assert bound.terms.shape == (n, 250)
    assert bound.prior.shape == (n,)
    # E |x_0 - x0_hat|^2 of Gaussian data is its posterior variance, weighed by each entry's KL.
    t = torch.arange(2, 251, dtype=torch.float64) / 250
    alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
    missed = (STD * sigma) ** 2 / ((STD * alpha) ** 2 + sigma**2)
    _, c_x0, c_noise = PROCESS.coefficients(t, PROCESS.previous(t), 1.0)
    expected = c_x0**2 * missed / (2 * c_noise**2) / math.log(2)
    error = bound.terms[:, 1:].std(0) / math.sqrt(n)
    assert ((bound.terms[:, 1:].mean(0) - expected).abs() < 4.5 * error).all()
    summed = bound.terms[:, 1:].sum(1)
    gap = abs(summed.mean().item() - expected.sum().item())
    assert gap < 4.5 * summed.std().item() / math.sqrt(n)
    # The variance beta-tilde is too small for data that is wider than the first steps' noise.
    assert entropy() < bound.total.mean().item() < entropy() + 1


def test_with_the_exact_variance_too_the_bound_is_the_entropy() -> None:
    n, exact = 512, DATA.denoiser(PROCESS)

    def denoise(x: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
        alpha, sigma = PROCESS.alpha(t), PROCESS.sigma(t)
        missed = (STD * sigma) ** 2 / ((STD * alpha) ** 2 + sigma**2)
        _, c_x0, c_noise = PROCESS.coefficients(t, PROCESS.previous(t), 1.0)
        logvar = (c_noise**2 + c_x0**2 * missed).log()[:, None]
        small, large = (
            posterior_logvar(PROCESS, t, torch.full_like(x, end), x) for end in (-1.0, 1.0)
        )
        return exact(x, t), 2 * (logvar - small) / (large - small) - 1

    # Even quantiles in random order instead of chance: the mean over them is nearly the integral.
    order = gaussian(251, n, seed=9).argsort(1)
    eps = torch.special.ndtri((order.double() + 0.5) / n)[..., None]
    bound = bits_per_dimension(PROCESS, denoise, even_data(n)[:, None], lambda i: eps[i])
    assert bound.total.mean().item() == pytest.approx(entropy(), abs=0.03)


def test_a_worse_model_has_a_worse_bound() -> None:
    process = Discrete("cosine", steps=50)
    x0, eps, exact = even_data(512)[:, None], noise((512, 1)), DATA.denoiser(process)
    best = bits_per_dimension(process, exact, x0, lambda i: eps[i]).total.mean()
    worse = bits_per_dimension(process, lambda x, t: exact(x, t) + 0.02, x0, lambda i: eps[i])
    assert worse.total.mean() > best + 0.1


def test_terms_are_non_negative_but_the_first() -> None:
    process = Discrete("linear", steps=50)
    x0, eps = even_data(64)[:, None], noise((64, 1))
    bound = bits_per_dimension(process, lambda x, t: 0.9 * x, x0, lambda i: eps[i])
    assert (bound.terms[:, 1:] >= 0).all()
    assert (bound.prior >= 0).all()
    torch.testing.assert_close(bound.total, bound.prior + bound.terms.sum(1))


def test_a_perfect_guess_costs_nothing_but_the_decoder() -> None:
    process = Discrete("linear", steps=50)
    x0, eps = even_data(8)[:, None], noise((8, 1))
    bound = bits_per_dimension(process, lambda x, t: x0, x0, lambda i: eps[i])
    assert bound.terms[:, 1:].abs().max() < 1e-9


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear"])
def test_the_prior_term_is_its_closed_form(schedule: str) -> None:
    process = Discrete(schedule)
    x0 = gaussian(6, 3, 4)
    alpha, sigma, _ = process.table()
    a2, s2 = alpha[-1] ** 2, sigma[-1] ** 2
    nats = 0.5 * (s2 + a2 * x0**2 - 1 - s2.log())
    expected = nats.mean((1, 2)) / math.log(2)
    torch.testing.assert_close(prior_bits(process, x0), expected, rtol=1e-9, atol=1e-15)


def test_units_are_bits_per_dimension() -> None:
    # The same element many times over costs as much per dimension as once.
    process = Discrete("linear", steps=20)
    x0, eps = even_data(4)[:, None], noise((4, 1))
    one = bits_per_dimension(process, lambda x, t: 0.9 * x, x0, lambda i: eps[i])
    wide = x0.view(4, 1, 1, 1).expand(4, 3, 2, 5)
    many = eps.view(-1, 4, 1, 1, 1).expand(-1, 4, 3, 2, 5)
    full = bits_per_dimension(process, lambda x, t: 0.9 * x, wide, lambda i: many[i])
    torch.testing.assert_close(full.total, one.total, rtol=1e-12, atol=1e-12)


def test_a_uniform_decoder_costs_eight_bits() -> None:
    # A model that knows nothing of the first step's pixel: -log2 (1 / 256) = 8 bits at the least.
    process = Discrete("linear", steps=20)
    x0 = LEVELS[:, None]
    bound = bits_per_dimension(process, lambda x, t: torch.zeros_like(x), x0, lambda i: 0 * x0)
    assert bound.total.mean() > 8


def test_where_the_bound_does_not_exist_it_says_so() -> None:
    x0 = gaussian(1, 2)
    with pytest.raises(ValueError, match=r"VP is continuous"):
        bits_per_dimension(VP(), lambda x, t: x, x0, lambda i: x0)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=r"zero_terminal_snr is True"):
        bits_per_dimension(Discrete(zero_terminal_snr=True), lambda x, t: x, x0, lambda i: x0)
