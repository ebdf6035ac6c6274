"""The forward process: closed form, Markov chain, posterior and steps agree to 1e-12."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.discrete import ENDS, SCHEDULES, Discrete, betas, rescale_to_zero_snr
from inkdrop.diffusion.process import VE, VP, Flow, Process

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
TABLES = {name: p for name, p in PROCESSES.items() if isinstance(p, Discrete)}
TABLE = pytest.mark.parametrize("process", TABLES.values(), ids=TABLES.keys())


def interior(process: Process, n: int = 64) -> Tensor:
    """Falling times strictly inside, none of them a table entry."""
    low, high = process.logsnr(f64(process.t_min, process.t_start)).tolist()
    return process.time_at(torch.linspace(high, low, n + 2, dtype=torch.float64)[1:-1] + 1e-4)


def close(a: Tensor, b: Tensor, tolerance: float = 1e-12) -> None:
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance)


def test_schedules_follow_their_papers() -> None:
    linear = betas("linear", 1000)
    assert linear[0].item() == pytest.approx(1e-4)
    assert linear[-1].item() == pytest.approx(0.02)
    close(linear.diff(), torch.full_like(linear[1:], (0.02 - 1e-4) / 999))
    scaled = betas("scaled_linear", 1000)
    assert scaled[0].item() == pytest.approx(0.00085)
    assert scaled[-1].item() == pytest.approx(0.012)
    close(scaled.sqrt().diff(2), torch.zeros(998, dtype=torch.float64))
    sigmoid = betas("sigmoid", 1000)
    expected = 1 / (1 + math.exp(6)) * (0.02 - 1e-4) + 1e-4
    assert sigmoid[0].item() == pytest.approx(expected, rel=1e-12)
    close(sigmoid + sigmoid.flip(0), torch.full_like(sigmoid, 0.02 + 1e-4))


@pytest.mark.parametrize("schedule", ["linear", "scaled_linear", "sigmoid"])
def test_a_table_goes_from_one_beta_to_another(schedule: str) -> None:
    beta = betas(schedule, 50, (0.001, 0.03))
    alpha, _, _ = Discrete(schedule, 50, ends=(0.001, 0.03)).table()
    close(1 - (alpha[1:] / alpha[:-1]) ** 2, beta)
    near = 1e-4 if schedule == "sigmoid" else 1e-12
    close(beta[[0, -1]], f64(0.001, 0.03), near)
    assert (
        Discrete(schedule, 50, ends=ENDS[schedule])
        .table()[0]
        .equal(Discrete(schedule, 50).table()[0])
    )


def test_cosine_is_a_squared_cosine_until_it_is_clipped() -> None:
    alpha, _, _ = Discrete("cosine").table()
    i = torch.arange(1000, dtype=torch.float64)
    bar = torch.cos((i / 1000 + 0.008) / 1.008 * math.pi / 2) ** 2
    close(alpha[:1000] ** 2, bar / bar[0])
    assert betas("cosine", 1000)[-1].item() == 0.999
    assert (alpha[1000] / alpha[999]).item() == pytest.approx(math.sqrt(1 - 0.999), rel=1e-12)


def test_zero_snr_keeps_the_first_level_and_empties_the_last() -> None:
    plain, _, _ = Discrete("linear").table()
    alpha, sigma, logsnr = Discrete("linear", zero_terminal_snr=True).table()
    assert alpha[1].item() == pytest.approx(plain[1].item(), rel=1e-14)
    assert alpha[-1].item() == 0
    assert sigma[-1].item() == 1
    assert logsnr[-1].item() == -math.inf
    # Lin et al., algorithm 1: an affine map of the plain roots.
    slope = (alpha[1] - alpha[-1]) / (plain[1] - plain[-1])
    close(alpha[1:], slope * (plain[1:] - plain[-1]))
    assert rescale_to_zero_snr(f64(0.9, 0.5, 0.1))[-1].item() == 0


def test_continuous_processes_are_their_formulas() -> None:
    t = torch.linspace(0, 1, 101, dtype=torch.float64)
    integral = 0.1 * t + (20 - 0.1) * t**2 / 2
    close(VP().alpha(t), (-integral / 2).exp())
    close(VP().sigma(t) ** 2, -torch.expm1(-integral))
    close(Flow().alpha(t), 1 - t)
    close(Flow().sigma(t), t)
    close(VE().alpha(80 * t), torch.ones_like(t))
    close(VE().sigma(80 * t), 80 * t)


@TABLE
def test_a_table_is_met_exactly_at_its_entries(process: Discrete) -> None:
    t = torch.arange(process.steps + 1, dtype=torch.float64) / process.steps
    alpha, sigma, logsnr = process.table()
    assert torch.equal(process.alpha(t), alpha)
    assert torch.equal(process.sigma(t), sigma)
    assert torch.equal(process.time_feature(t).round(), torch.arange(-1.0, process.steps).double())
    close(process.logsnr(t)[1:-1], logsnr[1:-1], 1e-9)


@TABLE
def test_a_table_is_continuous_and_monotone_between_entries(process: Discrete) -> None:
    t = torch.linspace(0, 1, 20_011, dtype=torch.float64)
    alpha, sigma, logsnr = process.alpha(t), process.sigma(t), process.logsnr(t)
    assert (alpha.diff() <= 0).all()
    assert (sigma.diff() >= 0).all()
    assert (logsnr.diff() < 0).all()
    assert (alpha**2 + sigma**2 - 1).abs().max() < 1e-14
    entry = torch.arange(process.steps + 1, dtype=torch.float64) / process.steps
    for side in (-2e-6, 2e-6):
        near = (entry + side / process.steps).clamp(0, 1)
        assert (process.alpha(near) - process.alpha(entry)).abs().max() < 1e-4
        assert (process.sigma(near) - process.sigma(entry)).abs().max() < 1e-4


@TABLE
def test_between_entries_the_log_snr_is_interpolated(process: Discrete) -> None:
    i = torch.arange(1, process.steps - 1, dtype=torch.float64)
    level = process.table()[2]
    low, high = level[1 : process.steps - 1], level[2 : process.steps]
    close(process.logsnr((i + 0.25) / process.steps), 0.75 * low + 0.25 * high, 1e-9)


@ALL
def test_time_at_inverts_logsnr(process: Process) -> None:
    t = interior(process, 999)
    close(process.time_at(process.logsnr(t)), t, 1e-10)
    low, high = process.logsnr(f64(process.t_start, process.t_min)).tolist()
    level = torch.linspace(low, high, 777, dtype=torch.float64)
    close(process.logsnr(process.time_at(level)), level, 1e-10)


@TABLE
def test_time_at_meets_every_entry(process: Discrete) -> None:
    t = torch.arange(process.steps + 1, dtype=torch.float64) / process.steps
    close(process.time_at(process.table()[2]), t)


@TABLE
def test_time_at_inverts_beyond_the_finite_entries(process: Discrete) -> None:
    below = torch.linspace(0.01, 0.99, 50, dtype=torch.float64) / process.steps
    close(process.time_at(process.logsnr(below)), below)
    if process.zero_terminal_snr:
        close(process.time_at(process.logsnr(1 - below)), 1 - below)


@ALL
def test_time_at_knows_both_ends(process: Process) -> None:
    ends = process.logsnr(f64(0, process.t_max))
    assert ends[0].item() == math.inf
    close(process.time_at(ends), f64(0, process.t_max))


@pytest.mark.parametrize("zero", [False, True])
def test_the_smallest_table_works(zero: bool) -> None:
    process = Discrete("linear", steps=2, zero_terminal_snr=zero)
    t = f64(0, 0.2, 0.5, 0.7, 1)
    close(process.time_at(process.logsnr(t)), t)


def test_a_steep_vp_is_inverted_too() -> None:
    process = VP(0.1, 100.0)  # log-SNR to -50
    t = torch.linspace(0.01, 1, 100, dtype=torch.float64)
    close(process.time_at(process.logsnr(t)), t)


@ALL
def test_the_ends_are_finite(process: Process) -> None:
    ends = f64(0, process.t_min, process.t_start, process.t_max)
    x0, eps = gaussian(4, 3), gaussian(4, 3, seed=1)
    x = process.add_noise(x0, eps, ends)
    assert x.isfinite().all()
    assert torch.equal(x[0], x0[0])
    assert process.time_feature(ends).isfinite().all()
    assert process.input_scale(ends).isfinite().all()
    for eta in (0.0, 0.5, 1.0):
        later, earlier = f64(process.t_max, process.t_max, process.t_min), f64(process.t_min, 0, 0)
        for column in process.coefficients(later, earlier, eta):
            assert column.isfinite().all()
        y = process.step(x[1:], x0[1:], later, earlier, eta, eps[1:])
        assert y.isfinite().all()
        close(y[1:], x0[2:])  # a step to 0 arrives at x_0


@ALL
def test_the_markov_chain_composes_to_the_closed_form(process: Process) -> None:
    if isinstance(process, Discrete):
        t = torch.arange(process.steps + 1, dtype=torch.float64) / process.steps
    else:
        t = torch.cat([f64(0), interior(process, 300).flip(0), f64(process.t_max)])
    n = len(t) - 1
    zero, one = torch.zeros(n, dtype=torch.float64), torch.ones(n, dtype=torch.float64)
    # renoise is linear in (x, noise): its two coefficients, for all strides at once.
    gain = process.renoise(one, t[:-1], t[1:], zero)
    fresh = process.renoise(zero, t[:-1], t[1:], one)
    mean, variance = one[:1], zero[:1]
    means, variances = [], []
    for g, f in zip(gain, fresh, strict=True):
        mean, variance = g * mean, g**2 * variance + f**2
        means.append(mean)
        variances.append(variance)
    close(torch.cat(means), process.alpha(t[1:]))
    close(torch.cat(variances), process.sigma(t[1:]) ** 2)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_one_stride_of_the_chain_is_ddpm_equation_2(schedule: str) -> None:
    process, beta = Discrete(schedule), betas(schedule, 1000)
    t = torch.arange(1001, dtype=torch.float64) / 1000
    x, noise = gaussian(1000), gaussian(1000, seed=1)
    expected = (1 - beta).sqrt() * x + beta.sqrt() * noise
    close(process.renoise(x, t[:-1], t[1:], noise), expected)


@ALL
def test_step_at_eta_1_is_the_posterior_by_bayes(process: Process) -> None:
    t = interior(process)
    for stride in (1, 7, 40):
        now, s = t[:-stride], t[stride:]
        n = len(now)
        x, x0, noise = gaussian(n, seed=1), gaussian(n, seed=2), gaussian(n, seed=3)
        # q(x_s | x_t, x_0) from q(x_s | x_0) q(x_t | x_s): precisions add.
        ratio = process.alpha(now) / process.alpha(s)
        one_way = process.sigma(now) ** 2 - (ratio * process.sigma(s)) ** 2
        precision = ratio**2 / one_way + 1 / process.sigma(s) ** 2
        pull = ratio * x / one_way + process.alpha(s) * x0 / process.sigma(s) ** 2
        mean, variance = process.posterior(x, x0, now, s)
        # one_way is a difference: its relative rounding is that of sigma_t^2 over it.
        loss = (process.sigma(now) ** 2 / one_way).max().item()
        torch.testing.assert_close(mean, pull / precision, rtol=1e-14 * loss, atol=1e-13)
        torch.testing.assert_close(variance, 1 / precision, rtol=1e-14 * loss, atol=0)
        close(process.step(x, x0, now, s, 1.0, noise), mean + variance.sqrt() * noise)


def test_the_posterior_is_ddpm_equation_7() -> None:
    process, beta = Discrete("linear"), betas("linear", 1000)
    bar = torch.cat([f64(1), (1 - beta).cumprod(0)])
    t = torch.arange(1001, dtype=torch.float64) / 1000
    x, x0 = gaussian(1000, seed=1), gaussian(1000, seed=2)
    mean, variance = process.posterior(x, x0, t[1:], t[:-1])
    c_x0 = bar[:-1].sqrt() * beta / (1 - bar[1:])
    c_x = (1 - beta).sqrt() * (1 - bar[:-1]) / (1 - bar[1:])
    torch.testing.assert_close(mean, c_x0 * x0 + c_x * x, rtol=1e-10, atol=1e-12)
    tilde = (1 - bar[:-1]) / (1 - bar[1:]) * beta
    torch.testing.assert_close(variance, tilde, rtol=1e-10, atol=1e-14)


@ALL
@pytest.mark.parametrize("eta", [0.0, 0.3, 1.0])
def test_step_is_ddim_equation_12(process: Process, eta: float) -> None:
    t = interior(process)
    now, s = t[:-3], t[3:]
    x, x0 = gaussian(len(s), seed=1), gaussian(len(s), seed=2)
    noise = gaussian(len(s), seed=3)
    alpha_t, sigma_t = process.alpha(now), process.sigma(now)
    alpha_s, sigma_s = process.alpha(s), process.sigma(s)
    eps = (x - alpha_t * x0) / sigma_t
    fresh = eta * sigma_s * (1 - (sigma_s / alpha_s * alpha_t / sigma_t) ** 2).sqrt()
    expected = alpha_s * x0 + (sigma_s**2 - fresh**2).sqrt() * eps + fresh * noise
    size = x.abs() / sigma_t * sigma_s + alpha_s * x0.abs() + 1
    assert ((process.step(x, x0, now, s, eta, noise) - expected).abs() / size).max() < 1e-12


@ALL
@pytest.mark.parametrize("eta", [0.0, 0.4, 1.0])
def test_a_step_with_the_true_x0_keeps_the_marginal(process: Process, eta: float) -> None:
    t = torch.cat([f64(process.t_max), interior(process), f64(0)])
    now, s = t[:-1], t[1:]
    c_x, c_x0, c_noise = process.coefficients(now, s, eta)
    close(c_x * process.alpha(now) + c_x0, process.alpha(s))
    close((c_x * process.sigma(now)) ** 2 + c_noise**2, process.sigma(s) ** 2)


@ALL
def test_steps_compose(process: Process) -> None:
    t = interior(process, 30)[:, None]
    x, x0 = gaussian(29, seed=1), gaussian(29, seed=2)
    far = process.step(x, x0, t[0].expand(29), t[-1].expand(29))
    for now, s in itertools.pairwise(t):
        x = process.step(x, x0, now.expand(29), s.expand(29))
    close(x, far)


@ALL
def test_eps_undoes_add_noise(process: Process) -> None:
    t = interior(process)
    x0, eps = gaussian(len(t), 2, seed=1), gaussian(len(t), 2, seed=2)
    x = process.add_noise(x0, eps, t)
    size = 1 + (process.alpha(t) / process.sigma(t))[:, None]
    assert ((process.eps(x, x0, t) - eps).abs() / size).max() < 1e-12


@pytest.mark.parametrize("shape", [(4,), (4, 3), (4, 1, 5, 7), (4, 2, 3, 5, 7)])
def test_times_are_per_sample_for_any_dimensions(shape: tuple[int, ...]) -> None:
    process, t, s = VP(), f64(0.2, 0.4, 0.6, 0.9), f64(0.1, 0.3, 0.2, 0.0)
    x, x0, noise = (gaussian(*shape, seed=i) for i in range(3))
    whole = process.step(x, x0, t, s, 0.5, noise)
    for i in range(4):
        row = slice(i, i + 1)
        close(whole[row], process.step(x[row], x0[row], t[i], s[i], 0.5, noise[row]))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64])
def test_the_mathematics_is_never_below_float32(dtype: torch.dtype) -> None:
    x = gaussian(2, 3).to(dtype)
    wanted = torch.float64 if dtype == torch.float64 else torch.float32
    process, t, s = Discrete(), f64(0.5, 1.0), f64(0.2, 0.5)
    assert process.add_noise(x, x, t).dtype == wanted
    assert process.step(x, x, t, s, 1.0, x).dtype == wanted


def test_a_stochastic_step_without_noise_is_an_error() -> None:
    x = gaussian(2, 3)
    with pytest.raises(ValueError, match=r"eta is 0.5: a stochastic step needs"):
        VP().step(x, x, f64(0.5, 0.5), f64(0.2, 0.2), 0.5)


@pytest.mark.parametrize("eta", [-0.1, 1.1, math.nan])
def test_eta_outside_0_to_1_is_an_error(eta: float) -> None:
    with pytest.raises(ValueError, match=r"from 0 .DDIM. to 1 .DDPM."):
        VP().coefficients(f64(0.5), f64(0.2), eta)


def test_bad_settings_are_errors_in_words() -> None:
    with pytest.raises(ValueError, match=r"ends is \(0.02, 0.01\) for the linear schedule"):
        Discrete("linear", ends=(0.02, 0.01))
    with pytest.raises(ValueError, match="and none for cosine"):
        Discrete("cosine", ends=(0.01, 0.02))
    with pytest.raises(ValueError, match="cosine schedule has its own"):
        betas("cosine", 10, (0.01, 0.02))
    with pytest.raises(ValueError, match=r"no schedule 'cosin'.*Did you mean 'cosine'"):
        Discrete("cosin")
    with pytest.raises(ValueError, match=r"no schedule"):
        betas("quadratic", 10)
    with pytest.raises(ValueError, match=r"steps is 1: a table needs"):
        Discrete(steps=1)
    with pytest.raises(ValueError, match=r"beta_min"):
        VP(20.0, 0.1)
    with pytest.raises(ValueError, match=r"sigma_min"):
        VE(0.0, 80.0)


@pytest.mark.parametrize("process", [VP(), VE(), Flow()], ids=["vp", "ve", "flow"])
def test_a_continuous_process_has_no_neighbouring_step(process: Process) -> None:
    with pytest.raises(ValueError, match=r"continuous.*predict eps, x0, v or velocity"):
        process.previous(f64(0.5))
