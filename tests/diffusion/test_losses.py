"""Weights, times and the variational bound against their published forms."""

from __future__ import annotations

import math

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion import losses
from inkdrop.diffusion.discrete import SCHEDULES, Discrete, betas
from inkdrop.diffusion.losses import (
    bound_term,
    discretised_gaussian,
    gaussian_kl,
    hybrid,
    lognormal_times,
    loss_weight,
    low_discrepancy,
    posterior_logvar,
    squared_error,
    uniform_times,
)
from inkdrop.diffusion.parameterization import EDM, X0, Eps, V, Velocity
from inkdrop.diffusion.process import VE, VP, Flow, Process

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
BITS = math.log(2)


def entries(process: Discrete, first: int = 2) -> Tensor:
    return torch.arange(first, process.steps + 1, dtype=torch.float64) / process.steps


def close(a: Tensor, b: Tensor, tolerance: float = 1e-10) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=0)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_bound_is_the_weighted_error_of_eps(schedule: str) -> None:
    # DDPM eq. 8 to 12: KL = beta^2 / (2 sigma^2 alpha (1 - alpha-bar)) |eps - eps_hat|^2.
    process, beta = Discrete(schedule), betas(schedule, 1000)
    bar, t, beta_1 = (1 - beta).cumprod(0), entries(process), beta[1:]
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * beta_1
    x0, eps, wrong = (gaussian(999, 4, seed=i) for i in range(3))
    x = process.add_noise(x0, eps, t)
    x0_hat = Eps().x0(process, wrong, x, t)
    error = (eps - wrong).square().mean(1)
    weight = beta_1**2 / (2 * tilde * (1 - beta_1) * (1 - bar[1:]))
    close(bound_term(process, x0, x, x0_hat, t), weight * error / BITS)
    # With the larger variance the same, plus what the two variances differ by, whatever the error.
    logvar = beta_1.log()[:, None].expand_as(x)
    lacking = bound_term(process, x0, x, x0, t, logvar)
    ratio = tilde / beta_1
    expected = 0.5 * (ratio - 1 - ratio.log()) / BITS
    torch.testing.assert_close(lacking, expected, rtol=1e-9, atol=1e-14)
    weight = beta_1 / (2 * (1 - beta_1) * (1 - bar[1:]))
    grown = bound_term(process, x0, x, x0_hat, t, logvar) - lacking
    close(grown, weight * error / BITS)


def test_the_kl_is_that_of_the_gaussians() -> None:
    a, b, c, d = (gaussian(50, seed=i) for i in range(4))
    first = torch.distributions.Normal(a, (b / 2).exp())
    second = torch.distributions.Normal(c, (d / 2).exp())
    close(gaussian_kl(a, b, c, d), torch.distributions.kl_divergence(first, second), 1e-12)
    assert gaussian_kl(a, b, a, b).abs().max() == 0


@pytest.mark.parametrize("bins", [2, 256])
@pytest.mark.parametrize("std", [1e-3, 0.02, 0.5, 30.0])
@pytest.mark.parametrize("mean", [-3.0, -1.0, 0.013, 0.4, 1.5])
def test_the_discretised_gaussian_sums_to_1(bins: int, std: float, mean: float) -> None:
    levels = torch.linspace(-1, 1, bins, dtype=torch.float64)
    centre, logstd = torch.full_like(levels, mean), torch.full_like(levels, math.log(std))
    nats = discretised_gaussian(levels, centre, logstd, bins)
    assert nats.isfinite().all()
    assert (-nats).exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_a_bin_holds_the_gaussians_integral() -> None:
    levels = torch.linspace(-1, 1, 256, dtype=torch.float64)[1:-1]
    mean, std = 0.1, 0.05
    nats = discretised_gaussian(levels, f64(mean).expand(254), f64(math.log(std)).expand(254))
    # Simpson's rule over the bin.
    half = 1 / 255
    density = [
        torch.exp(-0.5 * ((levels + shift - mean) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        for shift in (-half, 0.0, half)
    ]
    mass = 2 * half / 6 * (density[0] + 4 * density[1] + density[2])
    near = (levels - mean).abs() < 4 * std
    close((-nats).exp()[near], mass[near], 1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_it_and_its_gradient_are_finite_far_away(dtype: torch.dtype) -> None:
    x0 = torch.tensor([-1.0, 1.0, 0.0, 0.0, -1.0, 1.0, -1.0], dtype=dtype)
    mean = torch.tensor([1.0, -1.0, 50.0, -50.0, -1.0, 1.0, -9.0], dtype=dtype).requires_grad_()
    logstd = torch.full_like(x0, -5.0).requires_grad_()
    nats = discretised_gaussian(x0, mean, logstd)
    nats.sum().backward()  # type: ignore[no-untyped-call]
    assert nats.isfinite().all()
    assert (nats[:4] > 1000).all()
    assert (nats[4:] < 1).all()
    for leaf in (mean, logstd):
        assert leaf.grad is not None
        assert leaf.grad.isfinite().all()
    assert mean.grad is not None
    assert mean.grad[2] > 0
    assert mean.grad[3] < 0


@pytest.mark.parametrize("zero", [False, True])
def test_learned_variance_runs_from_beta_tilde_to_beta(zero: bool) -> None:
    process = Discrete("linear", zero_terminal_snr=zero)
    t = entries(process)
    one = torch.ones(999, 3, dtype=torch.float64)
    _, tilde = process.posterior(one, one, t, process.previous(t))
    alpha, _, _ = process.table()
    beta = 1 - (alpha[2:] / alpha[1:-1]) ** 2
    small, large = posterior_logvar(process, t, -one, one), posterior_logvar(process, t, one, one)
    close(small.exp(), tilde[:, None].expand(999, 3), 1e-9)
    close(large.exp(), beta[:, None].expand(999, 3), 1e-9)
    middle = posterior_logvar(process, t, 0 * one, one)
    torch.testing.assert_close(middle, (small + large) / 2, rtol=1e-12, atol=1e-12)


def test_the_first_entry_borrows_the_seconds_variance() -> None:
    process, one = Discrete("linear"), torch.ones(2, 1, dtype=torch.float64)
    both = posterior_logvar(process, f64(0.001, 0.002), -one, one)
    assert both[0].item() == pytest.approx(both[1].item(), rel=1e-12)
    first = posterior_logvar(process, f64(0.001, 0.001), one, one)
    assert first[0].exp().item() == pytest.approx(1e-4, rel=1e-9)


def test_hybrid_is_simple_plus_a_thousandth_of_the_bound() -> None:
    process = Discrete("linear")
    t = f64(0.001, 0.002, 0.3, 1.0)
    x0, eps = gaussian(4, 2, 5).clamp(-1, 1), gaussian(4, 2, 5, seed=1)
    x, out = process.add_noise(x0, eps, t), gaussian(4, 4, 5, seed=2)
    loss = hybrid(process, Eps(), out, x0, x, t, eps)
    x0_hat = Eps().x0(process, out[:, :2], x, t)
    logvar = posterior_logvar(process, t, out[:, 2:], x)
    bound = bound_term(process, x0, x, x0_hat, t, logvar)
    close(loss, squared_error(out[:, :2], eps) + 0.001 * 1000 * bound, 1e-12)


def test_the_bound_in_hybrid_does_not_move_the_mean() -> None:
    process = Discrete("linear")
    t = f64(0.001, 0.002, 0.3, 1.0)
    x0, eps = gaussian(4, 2, 5).clamp(-1, 1), gaussian(4, 2, 5, seed=1)
    x = process.add_noise(x0, eps, t)
    out = gaussian(4, 4, 5, seed=2).requires_grad_()
    # The target is the prediction itself: the simple part pulls nowhere.
    hybrid(process, Eps(), out, x0, x, t, out[:, :2].detach()).sum().backward()  # type: ignore[no-untyped-call]
    assert out.grad is not None
    assert out.grad.isfinite().all()
    assert (out.grad[:, :2] == 0).all()
    assert (out.grad[:, 2:] != 0).all()


def test_hybrid_needs_a_table() -> None:
    x = gaussian(1, 2)
    with pytest.raises(ValueError, match=r"needs a discrete table, .*; use loss 'simple'"):
        hybrid(VP(), Eps(), gaussian(1, 4), x, x, f64(0.5), x)


@pytest.mark.parametrize("process", [Discrete("linear"), VP()], ids=["linear", "vp"])
def test_min_snr_is_the_papers_for_each_prediction(process: Process) -> None:
    t = process.time_at(torch.linspace(8, -8, 33, dtype=torch.float64))
    snr = process.logsnr(t).exp()
    capped = snr.clamp(max=5)
    weight = loss_weight("min_snr")
    close(weight(process, Eps(), t), capped / snr)
    close(weight(process, X0(), t), capped)
    close(weight(process, V(), t), capped / (snr + 1))


@ALL
def test_weights_are_the_same_on_x0_whatever_is_predicted(process: Process) -> None:
    t = process.time_at(torch.linspace(6, -6, 25, dtype=torch.float64))
    for name in ("min_snr", "edm"):
        weight = loss_weight(name)
        on_x0 = weight(process, X0(), t)
        for meaning in (Eps(), V(), Velocity(), EDM()):
            close(weight(process, meaning, t) * meaning.x0_weight(process, t), on_x0)


@ALL
@pytest.mark.parametrize("sigma_data", [0.5, 0.2])
def test_edms_weight_is_1_with_edms_preconditioning(process: Process, sigma_data: float) -> None:
    t = process.time_at(torch.linspace(9, -6, 30, dtype=torch.float64))
    weight = loss_weight("edm")(process, EDM(sigma_data), t)
    close(weight, torch.ones_like(t), 1e-12)


def test_edms_weight_is_the_papers_on_ve() -> None:
    sigma = torch.logspace(-2, 1.5, 20, dtype=torch.float64)
    expected = (sigma**2 + 0.25) / (sigma * 0.5) ** 2
    close(loss_weight("edm")(VE(), X0(), sigma), expected, 1e-12)


def test_simple_is_1_and_others_are_finite_at_the_ends() -> None:
    process = Discrete("linear", zero_terminal_snr=True)
    ends = f64(process.t_min, 1.0)
    assert loss_weight("simple")(process, V(), ends).tolist() == [1, 1]
    for name in losses.WEIGHTS:
        assert loss_weight(name)(process, V(), ends).isfinite().all()
    assert loss_weight("min_snr")(process, V(), ends)[1] == 0  # nothing is left to be seen there


def test_an_unknown_loss_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"no loss 'minsnr'.*Did you mean 'min_snr'"):
        loss_weight("minsnr")


def test_squared_error_is_per_sample_in_float32() -> None:
    out, target = gaussian(3, 2, 4), gaussian(3, 2, 4, seed=1)
    close(squared_error(out, target), ((out - target) ** 2).mean((1, 2)), 1e-14)
    assert squared_error(out.bfloat16(), target.bfloat16()).dtype == torch.float32


@pytest.mark.parametrize("name", ["linear", "zero_snr"])
def test_uniform_times_of_a_table_are_its_entries_evenly(name: str) -> None:
    u = (torch.arange(5000, dtype=torch.float64) + 0.5) / 5000
    count = torch.bincount((uniform_times(PROCESSES[name], u) * 1000).round().long())
    assert count[0] == 0
    assert (count[1:] == 5).all()
    assert len(count) == 1001
    edge = uniform_times(PROCESSES[name], f64(0, 1 - 1e-16))
    assert edge.tolist() == [0.001, 1.0]


@pytest.mark.parametrize("process", [VP(), VE(), Flow()], ids=["vp", "ve", "flow"])
def test_uniform_times_of_a_continuous_process_fill_its_range(process: Process) -> None:
    u = torch.linspace(0, 1, 1001, dtype=torch.float64)
    t = uniform_times(process, u)
    assert t.max() == process.t_max
    assert t.min().item() == pytest.approx(process.t_min, rel=1e-9)
    torch.testing.assert_close(t.diff(), t.diff().mean().expand(1000), rtol=1e-9, atol=1e-12)


@ALL
@pytest.mark.parametrize(("mean", "std"), [(-1.2, 1.2), (0.3, 0.5)])
def test_lognormal_times_have_the_mean_and_spread(
    process: Process, mean: float, std: float
) -> None:
    # Even numbers instead of random ones, so quantiles are met without chance.
    u = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000
    t = lognormal_times(process, u, mean, std)
    assert (t >= process.t_min).all()
    assert (t <= process.t_max).all()
    z = -process.logsnr(t) / 2  # log(sigma / alpha); the far tails are clamped, not the middle
    low, middle, high = z.quantile(f64(0.158655, 0.5, 0.841345)).tolist()
    assert middle == pytest.approx(mean, abs=1e-3)
    assert high - middle == pytest.approx(std, rel=1e-3)
    assert middle - low == pytest.approx(std, rel=1e-3)


@pytest.mark.parametrize("seed", [0, 1])
def test_lognormal_times_of_random_numbers_have_the_moments(seed: int) -> None:
    n, generator = 20_000, torch.Generator().manual_seed(seed)
    u = torch.rand(n, generator=generator, dtype=torch.float64)
    z = lognormal_times(VE(1e-9, 1e9), u).log()
    assert abs(z.mean().item() + 1.2) < 4.5 * 1.2 / math.sqrt(n)
    assert abs(z.std().item() - 1.2) < 4.5 * 1.2 / math.sqrt(2 * n)


def test_lognormal_times_survive_the_ends() -> None:
    t = lognormal_times(VE(), f64(0, 1))
    assert t.isfinite().all()
    assert (t.diff() > 0).all()


@pytest.mark.parametrize("n", [1, 7, 128])
def test_low_discrepancy_covers_evenly(n: int) -> None:
    for seed in range(5):
        u = torch.rand(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        even = low_discrepancy(u)
        assert even[0] == u[0]
        assert (even >= 0).all()
        assert (even < 1).all()
        # One number in each n-th of the circle that begins at the first.
        gaps = torch.cat([even.sort().values, even.min()[None] + 1]).diff()
        torch.testing.assert_close(gaps, torch.full_like(gaps, 1 / n), rtol=1e-12, atol=1e-15)


def test_low_discrepancy_has_no_favourite_times() -> None:
    u = torch.rand(4000, 8, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    column = torch.stack([low_discrepancy(row) for row in u])[:, 3]
    assert abs(column.mean().item() - 0.5) < 4.5 * (1 / 12 / 4000) ** 0.5
    assert abs(column.var().item() - 1 / 12) < 4.5 * (1 / 180 / 4000) ** 0.5
