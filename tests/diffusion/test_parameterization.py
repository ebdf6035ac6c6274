"""Every meaning of a network's output gives back x_0, and each converts to each other."""

from __future__ import annotations

import pytest
import torch
from exact import PROCESSES, f64, gaussian
from torch import Tensor

from inkdrop.diffusion import parameterization as p
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.process import VE, Flow, Process
from inkdrop.registry import PARAMETERIZATIONS

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
MEANINGS = {name: cls() for name, cls in PARAMETERIZATIONS.items()}


def times(process: Process) -> Tensor:
    """Times from data to noise at which every conversion exists; a table's own entries."""
    if isinstance(process, Discrete):
        last = process.steps - 1 if process.zero_terminal_snr else process.steps
        return torch.linspace(2, last, 40, dtype=torch.float64).round() / process.steps
    high, low = process.logsnr(f64(process.t_min, process.t_start)).tolist()
    return process.time_at(torch.linspace(high, low, 40, dtype=torch.float64))


def known(process: Process) -> dict[str, p.Parameterization]:
    """The parameterizations that the process has: `mean` needs neighbouring steps."""
    return {k: v for k, v in MEANINGS.items() if k != "mean" or isinstance(process, Discrete)}


@ALL
def test_x0_is_read_back_from_every_target(process: Process) -> None:
    t = times(process)
    x0, eps = gaussian(40, 3, seed=1), gaussian(40, 3, seed=2)
    x = process.add_noise(x0, eps, t)
    for name, meaning in known(process).items():
        target = meaning.target(process, x0, eps, t)
        a, b = (c[:, None] for c in meaning.affine(process, t))
        condition = 1 + (a * x).abs() + (b * target).abs()
        error = (meaning.x0(process, target, x, t) - x0).abs() / condition
        assert error.max() < 1e-12, name


@ALL
def test_every_pair_converts_there_and_back(process: Process) -> None:
    t = times(process)
    x0, eps = gaussian(40, 3, seed=1), gaussian(40, 3, seed=2)
    x = process.add_noise(x0, eps, t)
    kinds = known(process)
    for name, source in kinds.items():
        value = source.target(process, x0, eps, t)
        a, b = (c[:, None] for c in source.affine(process, t))
        for other, to in kinds.items():
            there = p.convert(process, value, x, t, source, to)
            back = p.convert(process, there, x, t, to, source)
            a2, b2 = (c[:, None] for c in to.affine(process, t))
            lengths = [x0, a * x, b * value, a2 * x, b2 * there]
            # What rounding of x_0 becomes in the value: the conversion's condition number.
            condition = 1 + sum(part.abs() for part in lengths) / b.abs() + value.abs()
            assert ((back - value).abs() / condition).max() < 1e-12, f"{name} to {other}"


@ALL
def test_conversions_equal_the_targets_of_the_truth(process: Process) -> None:
    t = times(process)
    x0, eps = gaussian(40, 3, seed=1), gaussian(40, 3, seed=2)
    x = process.add_noise(x0, eps, t)
    for name, to in known(process).items():
        expected = to.target(process, x0, eps, t)
        _, b = to.affine(process, t)
        condition = 1 + (x.abs() + x0.abs()) / b[:, None].abs()
        error = (p.convert(process, x0, x, t, p.X0(), to) - expected).abs() / condition
        assert error.max() < 1e-12, name


def test_targets_are_their_definitions() -> None:
    process, t = PROCESSES["linear"], f64(0.3, 0.8)
    x0, eps = gaussian(2, 3, seed=1), gaussian(2, 3, seed=2)
    alpha, sigma = process.alpha(t)[:, None], process.sigma(t)[:, None]
    expected = {
        "eps": eps,
        "x0": x0,
        "v": alpha * eps - sigma * x0,
        "velocity": eps - x0,
        "score": -(process.add_noise(x0, eps, t) - alpha * x0) / sigma**2,
    }
    for name, value in expected.items():
        target = MEANINGS[name].target(process, x0, eps, t)
        torch.testing.assert_close(target, value, rtol=1e-12, atol=1e-12)


def test_velocity_is_the_speed_of_rectified_flow() -> None:
    process, t, h = Flow(), f64(0.1, 0.5, 0.9), 1e-3
    x0, eps = gaussian(3, 4, seed=1), gaussian(3, 4, seed=2)
    speed = (process.add_noise(x0, eps, t + h) - process.add_noise(x0, eps, t - h)) / (2 * h)
    target = p.Velocity().target(process, x0, eps, t)
    torch.testing.assert_close(target, speed, rtol=1e-10, atol=1e-10)


def test_mean_is_ddpm_equation_11() -> None:
    process = Discrete("linear")
    i = torch.tensor([2, 10, 500, 1000])
    t = i.double() / 1000
    x0, eps = gaussian(4, 3, seed=1), gaussian(4, 3, seed=2)
    x = process.add_noise(x0, eps, t)
    beta = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    bar = (1 - beta).cumprod(0)[i - 1, None]
    beta = beta[i - 1, None]
    expected = (x - beta / (1 - bar).sqrt() * eps) / (1 - beta).sqrt()
    target = p.Mean().target(process, x0, eps, t)
    torch.testing.assert_close(target, expected, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("name", ["vp", "ve", "flow"])
def test_mean_is_refused_on_a_continuous_process(name: str) -> None:
    x = gaussian(1, 3)
    with pytest.raises(ValueError, match=r"continuous.*predict eps, x0, v or velocity"):
        p.Mean().x0(PROCESSES[name], x, x, f64(0.5))
    with pytest.raises(ValueError, match=r"continuous"):
        p.Mean().target(PROCESSES[name], x, x, f64(0.5))


@pytest.mark.parametrize("name", ["zero_snr", "zero_snr_cosine", "flow"])
@pytest.mark.parametrize("meaning", ["eps", "score"])
def test_eps_of_pure_noise_is_refused_in_words(name: str, meaning: str) -> None:
    x = gaussian(2, 3)
    with pytest.raises(
        ValueError, match=rf"recovered from (the )?{meaning} where.*predict v, velocity or x0"
    ):
        MEANINGS[meaning].x0(PROCESSES[name], x, x, f64(0.5, 1.0))


@ALL
def test_both_ends_are_finite(process: Process) -> None:
    ends = f64(process.t_min, process.t_max)
    x0, eps = gaussian(2, 3, seed=1), gaussian(2, 3, seed=2)
    x = process.add_noise(x0, eps, ends)
    for name, meaning in known(process).items():
        target = meaning.target(process, x0, eps, ends)
        seen, feature = meaning.inputs(process, x, ends)
        for value in (target, seen, feature):
            assert value.isfinite().all(), name
        if process.alpha(ends)[1] > 0 or name not in ("eps", "score"):
            assert meaning.x0(process, target, x, ends).isfinite().all(), name


@ALL
def test_at_time_0_what_needs_no_division_is_finite(process: Process) -> None:
    zero = f64(0, 0)
    x0, eps = gaussian(2, 3, seed=1), gaussian(2, 3, seed=2)
    for name in ("eps", "x0", "v", "velocity", "edm"):
        target = MEANINGS[name].target(process, x0, eps, zero)
        assert target.isfinite().all()
        assert torch.equal(MEANINGS[name].x0(process, target, x0, zero), x0)
        assert MEANINGS[name].inputs(process, x0, zero)[1].isfinite().all()


@pytest.mark.parametrize("sigma_data", [0.5, 0.3])
def test_edm_on_ve_is_table_1_of_the_paper(sigma_data: float) -> None:
    sigma = torch.logspace(-2.7, 1.9, 30, dtype=torch.float64)
    x, out = 5 * gaussian(30, 2, seed=1), gaussian(30, 2, seed=2)
    total = sigma**2 + sigma_data**2
    c_skip, c_out = sigma_data**2 / total, sigma * sigma_data / total.sqrt()
    c_in, c_noise = 1 / total.sqrt(), sigma.log() / 4
    edm = p.EDM(sigma_data)
    seen, feature = edm.inputs(VE(), x, sigma)
    torch.testing.assert_close(seen, c_in[:, None] * x, rtol=1e-12, atol=0)
    torch.testing.assert_close(feature, 1000 * c_noise, rtol=1e-12, atol=1e-12)
    denoised = c_skip[:, None] * x + c_out[:, None] * out
    torch.testing.assert_close(edm.x0(VE(), out, x, sigma), denoised, rtol=1e-12, atol=1e-12)


@ALL
def test_edm_keeps_input_and_target_at_unit_variance(process: Process) -> None:
    n, spread = 20_000, 0.5
    for t in (process.t_min, process.time_at(f64(0.0)).item(), process.t_max):
        now = torch.full((n,), t, dtype=torch.float64)
        x0, eps = spread * gaussian(n, seed=1), gaussian(n, seed=2)
        seen, _ = p.EDM(spread).inputs(process, process.add_noise(x0, eps, now), now)
        target = p.EDM(spread).target(process, x0, eps, now)
        for value in (seen, target):
            assert abs(value.square().mean().item() - 1) < 5 * (2 / n) ** 0.5


def test_edm_needs_a_spread() -> None:
    with pytest.raises(ValueError, match=r"sigma_data is 0"):
        p.EDM(0.0)


def test_a_low_precision_output_is_cast_and_nothing_else() -> None:
    process, t = Discrete("linear"), f64(0.002, 1.0)
    x, out = gaussian(2, 3).float(), gaussian(2, 3, seed=1).bfloat16()
    x0 = p.Eps().x0(process, out, x, t)
    assert x0.dtype == torch.float32
    exact = p.Eps().x0(process, out.double(), x.double(), t)
    torch.testing.assert_close(x0.double(), exact, rtol=1e-5, atol=1e-4)


@ALL
def test_x0_weight_turns_an_error_of_the_output_into_one_of_x0(process: Process) -> None:
    t = times(process)
    x, error = gaussian(40, seed=1), gaussian(40, seed=3)
    for name, meaning in known(process).items():
        # Affine in the output: the error of x_0 is that of a run with x = 0.
        moved = meaning.x0(process, error, torch.zeros_like(x), t)
        expected = error.square()
        actual = meaning.x0_weight(process, t) * moved.square()
        torch.testing.assert_close(actual, expected, rtol=1e-12, atol=0, msg=name)
