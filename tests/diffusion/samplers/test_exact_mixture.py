"""Every sampler on every process draws from the exact mixture, at the order it claims."""

from __future__ import annotations

import math

import pytest
import torch
from exact import LINE, PROCESSES, THREE, Mixture, assert_distributed, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.process import VP, Flow, Process
from inkdrop.diffusion.samplers import ABOUT, SAMPLERS, adaptive, sampler
from inkdrop.diffusion.times import grid

ALL = pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES.keys())
# Steps at which a sampler's own error is below the statistical one of 2000 samples.
STEPS = {
    "ddpm": 200, "ddpm_beta": 400, "ddim": 200, "euler": 200, "euler_a": 200, "heun": 50,
    "dpm2": 50, "dpm2_a": 100, "edm": 60, "lms": 60, "plms": 100, "deis": 60, "dpmpp_2s": 50,
    "dpmpp_2s_a": 100, "dpmpp_sde": 60, "dpmpp_2m": 80, "dpmpp_2m_sde": 80, "dpmpp_3m": 60,
    "dpmpp_3m_sde": 60, "unipc": 60, "unipc_3": 60, "sa_solver": 60, "restart": 60,
    "langevin": 200, "adaptive": 20,
}  # fmt: skip
ORDERS = {
    name: about.order for name, about in ABOUT.items() if not about.fresh and name != "adaptive"
}
THREE_PROCESSES = pytest.mark.parametrize(
    "process", [VP(), PROCESSES["ve"], Flow()], ids=["vp", "ve", "flow"]
)


# Those that a plain denoiser can feed; test_ddpm_learned.py has the other.
PLAIN = [name for name in SAMPLERS if name != "ddpm_learned"]
# test_consistency.py has the one that is right with another x_0 than the mean.
OF_THE_MEAN = [name for name in PLAIN if name != "consistency"]


class Draws:
    """The Brownian noise of one seed, with the whole batch as one sample: quick for large ones."""

    def __init__(self, process: Process, shape: torch.Size, seed: int = 12) -> None:
        self.noise = SeededNoise(seed, (0,), tuple(shape), process, dtype=torch.float64)

    def __call__(self, t: float, s: float, k: int = 0) -> Tensor:
        return self.noise(t, s, k)[0]


def sample(
    name: str,
    process: Process,
    mixture: Mixture,
    x: Tensor,
    times: Tensor,
    eta: float | None = None,
) -> Tensor:
    """The last state of a run with the mixture's own denoiser."""
    noise, run = Draws(process, x.shape), sampler(name)
    denoise = mixture.denoiser(process)
    if eta is None:
        steps = list(run(process, denoise, x, times, noise=noise))
    else:
        steps = list(run(process, denoise, x, times, eta=eta, noise=noise))
    return steps[-1].x


def test_every_sampler_is_tested() -> None:
    assert set(STEPS) == set(OF_THE_MEAN)
    assert SAMPLERS.keys() == ABOUT.keys()


@ALL
@pytest.mark.parametrize("name", OF_THE_MEAN)
def test_samples_have_the_mixtures_weights_means_and_spreads(process: Process, name: str) -> None:
    times = grid(process, "logsnr", STEPS[name])
    x = THREE.noisy(process, process.t_max, 2000)
    assert_distributed(sample(name, process, THREE, x, times), THREE)


@ALL
@pytest.mark.parametrize(("name", "eta", "steps"), [("ddim", 0.5, 200), ("dpmpp_2m", 1.0, 80)])
def test_other_etas_keep_the_distribution(
    process: Process, name: str, eta: float, steps: int
) -> None:
    times = grid(process, "logsnr", steps)
    x = THREE.noisy(process, process.t_max, 2000)
    assert_distributed(sample(name, process, THREE, x, times, eta), THREE)


@pytest.mark.parametrize("name", ["linear", "zero_snr", "vp", "flow"])
def test_pure_noise_is_as_good_a_start(name: str) -> None:
    process = PROCESSES[name]
    times = grid(process, "logsnr", 100)
    assert_distributed(sample("dpmpp_2m", process, THREE, gaussian(2000, 2), times), THREE)


@THREE_PROCESSES
def test_the_karras_grid_samples_too(process: Process) -> None:
    x = THREE.noisy(process, process.t_max, 2000)
    times = grid(process, "karras", 80)
    assert_distributed(sample("heun", process, THREE, x, times), THREE)


@pytest.mark.parametrize("name", ["ddpm", "ddpm_beta"])
def test_ancestral_sampling_of_the_whole_table(name: str) -> None:
    process = PROCESSES["linear"]
    x = THREE.noisy(process, 1.0, 2000)
    times = grid(process, "uniform", 1000)
    assert_distributed(sample(name, process, THREE, x, times), THREE)


def slope(name: str, process: Process, levels: tuple[float, float], counts: list[int]) -> float:
    """Order of convergence between two log-SNRs: the regression of log error on log steps."""
    start = process.time_at(f64(*levels))
    x = gaussian(64) * (process.alpha(start[0]) ** 2 * 0.8 + process.sigma(start[0]) ** 2).sqrt()
    exact = LINE.flow(process, x, start[0], start[1])
    errors = []
    for n in counts:
        times = process.time_at(torch.linspace(*levels, n + 1, dtype=torch.float64))
        y = sample(name, process, LINE, x[:, None], times)[:, 0]
        errors.append((y - exact).square().mean().sqrt().item())
    return _regression(counts, errors)


def _regression(counts: list[int], errors: list[float]) -> float:
    a = torch.tensor(counts, dtype=torch.float64).log()
    b = torch.tensor(errors, dtype=torch.float64).log()
    a, b = a - a.mean(), b - b.mean()
    return -(a @ b / (a @ a)).item()


@THREE_PROCESSES
@pytest.mark.parametrize(("name", "order"), ORDERS.items())
def test_order_of_convergence(process: Process, name: str, order: int) -> None:
    # A fourth-order method is at rounding soon, and lms has its two first steps of lower order.
    counts = [32, 64, 128, 256] if order > 2 else [64, 128, 256, 512]
    assert slope(name, process, (-6.0, 5.0), counts) > order - (0.6 if name == "lms" else 0.25)


@pytest.mark.parametrize(
    ("name", "order"), [("ddim", 1), ("euler", 1), ("heun", 2), ("dpmpp_2m", 2)]
)
def test_order_from_the_first_instant_of_flow(name: str, order: int) -> None:
    # Log-SNR is infinite at t = 1: the grid is even in t and ends at a finite level.
    process, start = Flow(), f64(1.0, 0.05)
    x = gaussian(64)
    exact = LINE.flow(process, x, start[0], start[1])
    counts, errors = [64, 128, 256, 512], []
    for n in counts:
        times = torch.linspace(1.0, 0.05, n + 1, dtype=torch.float64)
        y = sample(name, process, LINE, x[:, None], times)[:, 0]
        errors.append((y - exact).square().mean().sqrt().item())
    assert abs(_regression(counts, errors) - order) < 0.15


@ALL
@pytest.mark.parametrize("name", ["heun", "dpmpp_2m"])
def test_deterministic_samplers_arrive_at_the_exact_point(process: Process, name: str) -> None:
    x = LINE.noisy(process, process.t_max, 64)[:, 0]
    exact = LINE.flow(process, x, f64(process.t_max)[0], f64(0)[0])
    # The last step, from t_min to 0, is of first order: what it leaves does not go away with steps.
    for steps, tolerance in ((50, 0.05), (200, 0.01)):
        y = sample(name, process, LINE, x[:, None], grid(process, "logsnr", steps))[:, 0]
        assert (y - exact).abs().max() < tolerance


@ALL
@pytest.mark.parametrize("name", PLAIN)
def test_every_grid_runs_to_finite_samples_at_few_steps(process: Process, name: str) -> None:
    names = ["uniform", "karras", "logsnr"]
    names += ["leading", "trailing"] if process.t_min == 1e-3 and hasattr(process, "steps") else []
    for kind in names:
        for steps in (1, 2, 5):
            times = grid(process, kind, steps)
            x = LINE.noisy(process, times[0].item(), 8)
            assert sample(name, process, LINE, x, times).isfinite().all()


@pytest.mark.parametrize("name", PLAIN)
def test_sample_i_is_the_same_alone_and_in_any_batch(name: str) -> None:
    process = PROCESSES["cosine"]
    times = grid(process, "logsnr", 12)

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        return 0.8 * x / (1 + 0.1 * x * x)  # element by element: no batch can change its rounding

    def samples(rows: list[int]) -> Tensor:
        noise = SeededNoise(7, rows, (3, 5), process)
        x = noise.initial()
        for step in SAMPLERS[name](process, denoise, x, times, noise=noise):
            x = step.x
        return x

    whole = samples(list(range(6)))
    for i in range(6):
        assert torch.equal(samples([i])[0], whole[i])
    assert torch.equal(samples([4, 2])[1], whole[2])
    assert not torch.equal(whole[0], whole[1])


@pytest.mark.parametrize("name", PLAIN)
def test_a_run_leaves_its_start_alone_and_counts_its_steps(name: str) -> None:
    process = PROCESSES["linear"]
    times = grid(process, "trailing", 10)
    x = gaussian(4, 1)
    kept = x.clone()
    noise = Draws(process, x.shape)
    steps = list(SAMPLERS[name](process, LINE.denoiser(process), x, times, noise=noise))
    assert torch.equal(x, kept)
    count = len(steps)
    assert [step.index for step in steps] == list(range(count))
    if name == "adaptive":
        assert {step.total for step in steps} == {None}
        assert steps[-1].t == 0
    else:
        assert {step.total for step in steps} == {count}
    if name not in ("adaptive", "restart"):
        assert [step.t for step in steps] == times[1:].tolist()
    if name not in ("lms", "plms"):  # their last step too mixes earlier slopes
        # The last step lands on the prediction it used.
        torch.testing.assert_close(steps[-1].x, steps[-1].x0, rtol=1e-12, atol=1e-12)
    assert len({step.x.data_ptr() for step in steps}) == count


@pytest.mark.parametrize("name", [n for n in PLAIN if n not in ("adaptive", "restart")])
def test_calls_of_the_network(name: str) -> None:
    calls = {1: 8, 2: 15}[ABOUT[name].calls] + (name == "plms")
    process, seen = PROCESSES["linear"], []

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen.append(t[0].item())
        return LINE.denoiser(process)(x, t)

    times = grid(process, "logsnr", 8)
    x = gaussian(2, 1)
    list(SAMPLERS[name](process, denoise, x, times, noise=Draws(process, x.shape)))
    assert len(seen) == calls
    if calls == 8:
        assert seen == times[:-1].tolist()


@pytest.mark.parametrize(
    ("name", "eta", "message"),
    [
        ("euler", 0.5, "euler is deterministic"),
        ("heun", 1.0, "heun is deterministic"),
        ("ddpm", 0.0, "use ddim for another eta"),
        ("ddpm_beta", 0.5, "use ddim for another eta"),
        ("dpmpp_2m", 0.5, "defined only for 0 .ODE. and 1 .SDE."),
        ("ddim", 1.5, "from 0 .DDIM. to 1 .DDPM."),
        ("ddim", math.nan, "from 0"),
        *((name, 1.0, f"{name} is deterministic") for name in ("lms", "deis", "plms", "unipc")),
        *((name, 1.0, f"{name} is deterministic") for name in ("dpm2", "dpmpp_2s", "adaptive")),
        ("dpmpp_3m", 0.5, "defined only for 0 .ODE. and 1 .SDE."),
        ("sa_solver", 1.5, "from 0 .ODE. to 1 .SDE."),
        ("edm", -0.5, "share of the churn"),
        ("restart", 0.0, "leave eta at 1 or use heun"),
        ("consistency", 0.0, "all noise anew by definition"),
    ],
)
def test_an_eta_that_a_sampler_lacks_is_an_error(name: str, eta: float, message: str) -> None:
    process = PROCESSES["vp"]
    with pytest.raises(ValueError, match=message):
        sample(name, process, LINE, gaussian(2, 1), grid(process, "logsnr", 4), eta)


@pytest.mark.parametrize("name", [name for name in PLAIN if ABOUT[name].fresh])
def test_a_stochastic_sampler_asks_for_its_noise(name: str) -> None:
    process = PROCESSES["vp"]
    run = SAMPLERS[name](
        process, LINE.denoiser(process), gaussian(2, 1), grid(process, "logsnr", 12)
    )
    with pytest.raises(ValueError, match=r"needs a source of noise"):
        list(run)


def test_an_unknown_sampler_is_an_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match=r"no sampler 'unipcc'.*Did you mean 'unipc'"):
        sampler("unipcc")


def end(name: str, process: Process, levels: tuple[float, float], steps: int) -> Tensor:
    """The end [N, 1] of a run between two log-SNRs on the path of one seed."""
    times = process.time_at(torch.linspace(*levels, steps + 1, dtype=torch.float64))
    start = process.time_at(f64(levels[0]))
    spread = (process.alpha(start) ** 2 * 0.8 + process.sigma(start) ** 2).sqrt()
    return sample(name, process, LINE, gaussian(256, 1) * spread, times)


# SDE samplers by strong order: the mean distance to a fine run on the same Brownian path.
STRONG = {"ddpm": 1.0, "dpmpp_2m_sde": 1.0, "dpmpp_3m_sde": 1.0, "dpmpp_sde": 1.0, "sa_solver": 1.0}


@THREE_PROCESSES
@pytest.mark.parametrize(("name", "order"), STRONG.items())
def test_strong_order_on_one_brownian_path(process: Process, name: str, order: float) -> None:
    exact = end("ddpm", process, (-3.0, 3.0), 1024)
    counts = [8, 16, 32, 64]
    errors = [(end(name, process, (-3.0, 3.0), n) - exact).abs().mean().item() for n in counts]
    assert _regression(counts, errors) > order - 0.2


@THREE_PROCESSES
def test_adaptive_keeps_its_tolerance(process: Process) -> None:
    start, stop = process.time_at(f64(-6.0, 5.0))
    x = gaussian(64) * (process.alpha(start) ** 2 * 0.8 + process.sigma(start) ** 2).sqrt()
    exact, errors = LINE.flow(process, x, start, stop), []
    for tolerance in (1e-2, 1e-3, 1e-4, 1e-5):
        run = adaptive(
            process, LINE.denoiser(process), x[:, None], torch.stack([start, stop]),
            tolerance=tolerance,
        )  # fmt: skip
        for step in run:
            last = step.x[:, 0]
        errors.append((last - exact).abs().max().item())
        assert errors[-1] < 20 * tolerance  # each of some 20 steps may err by one
    assert errors[0] > errors[1] > errors[2] > errors[3]
