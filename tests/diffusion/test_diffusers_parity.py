"""The same network, noise and grid in a public implementation give the same samples."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from exact import Mixture, f64, gaussian
from tiny_network import TinyNetwork
from torch import Tensor

from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import Eps
from inkdrop.diffusion.samplers import SAMPLERS, sampler
from inkdrop.diffusion.times import grid

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

PROCESS = Discrete("linear")
SHAPE = (2, 3, 8, 8)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Its deprecation notes are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


NETWORK = TinyNetwork()


def denoise(x: Tensor, t: Tensor) -> Tensor:
    seen, feature = Eps().inputs(PROCESS, x, t)
    return Eps().x0(PROCESS, NETWORK(seen, feature), x, t)


def scheduler(name: str, **settings: Any) -> Any:
    """One of the public schedulers on the linear table, with its clipping off."""
    if name in ("DDPMScheduler", "DDIMScheduler"):
        settings = {"clip_sample": False, **settings}
    table = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    return getattr(diffusers, name)(num_train_timesteps=1000, **table, **settings)


def eps_at(x: Tensor, index: Tensor) -> Tensor:
    """The network asked at one index for the whole batch."""
    eps: Tensor = NETWORK(x, index.expand(len(x)))
    return eps


def times_of(timesteps: Tensor) -> Tensor:
    """The grid that stands on its timesteps: index i is our entry i + 1, and 0 is data."""
    return torch.cat([(timesteps.double() + 1) / 1000, f64(0)])


class Stream:
    """Noise in the order in which it is asked for."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __call__(self, t: float, s: float, k: int = 0) -> Tensor:
        return torch.randn(SHAPE, generator=self.generator, dtype=torch.float64)


def ours(name: str, times: Tensor, x: Tensor, eta: float | None = None) -> Tensor:
    if eta is None:
        steps = list(SAMPLERS[name](PROCESS, denoise, x, times, noise=Stream()))
    else:
        steps = list(SAMPLERS[name](PROCESS, denoise, x, times, eta=eta, noise=Stream()))
    return steps[-1].x


def agree(a: Tensor, b: Tensor) -> None:
    assert 0.05 < b.std() < 20  # a run that exploded or died would prove nothing
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steps", [50, 1000])
@pytest.mark.parametrize(
    ("name", "variance"), [("ddpm", "fixed_small"), ("ddpm_beta", "fixed_large")]
)
def test_ddpm(name: str, variance: str, steps: int) -> None:
    public = scheduler("DDPMScheduler", variance_type=variance)
    public.set_timesteps(steps)
    x = start = gaussian(*SHAPE)
    generator = torch.Generator().manual_seed(5)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x, generator=generator).prev_sample
    times = grid(PROCESS, "leading", steps)
    torch.testing.assert_close(times, times_of(public.timesteps))
    agree(ours(name, times, start), x)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim(spacing: str, eta: float) -> None:
    public, stream = scheduler("DDIMScheduler", timestep_spacing=spacing), Stream()
    public.set_timesteps(20)
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        noise = stream(0, 0) if eta else None
        x = public.step(eps_at(x, index), index, x, eta=eta, variance_noise=noise).prev_sample
    times = grid(PROCESS, spacing, 20)
    agree(ours("ddim", times, start, eta), x)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_heun(spacing: str) -> None:
    public = scheduler("HeunDiscreteScheduler", timestep_spacing=spacing)
    public.set_timesteps(20)
    firsts = public.timesteps[:1].tolist() + public.timesteps[1::2].tolist()
    if spacing == "linspace":  # whole table entries only
        public.set_timesteps(timesteps=[round(i) for i in firsts])
        firsts = public.timesteps[:1].tolist() + public.timesteps[1::2].tolist()
    times = times_of(torch.tensor(firsts))
    start = gaussian(*SHAPE)
    x = start / PROCESS.alpha(times[0])  # its state is x / alpha
    for index in public.timesteps:
        eps = eps_at(public.scale_model_input(x, index), index)
        x = public.step(eps, index, x).prev_sample
    agree(ours("heun", times, start), x)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_dpmpp_2m(spacing: str) -> None:
    public = scheduler(
        "DPMSolverMultistepScheduler",
        algorithm_type="dpmsolver++",
        solver_type="midpoint",
        solver_order=2,
        final_sigmas_type="zero",
        lower_order_final=False,
        timestep_spacing=spacing,
    )
    public.set_timesteps(20)
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x).prev_sample
    agree(ours("dpmpp_2m", times_of(public.timesteps), start), x)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_grids_stand_on_the_same_timesteps(spacing: str) -> None:
    for steps in (1, 2, 3, 7, 10, 20, 50, 99, 128, 333, 500, 999, 1000):
        public = scheduler("DDIMScheduler", timestep_spacing=spacing)
        public.set_timesteps(steps)
        times = grid(PROCESS, spacing, steps)
        assert torch.equal((times[:-1] * 1000).round().long() - 1, public.timesteps), steps


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("linear", "linear"),
        ("cosine", "squaredcos_cap_v2"),
        ("scaled_linear", "scaled_linear"),
        ("sigmoid", "sigmoid"),
    ],
)
@pytest.mark.parametrize("zero", [False, True])
def test_tables(ours: str, theirs: str, zero: bool) -> None:
    start, end = (0.00085, 0.012) if ours == "scaled_linear" else (1e-4, 0.02)
    public = diffusers.DDPMScheduler(
        beta_schedule=theirs, beta_start=start, beta_end=end, rescale_betas_zero_snr=zero
    )
    alpha, _, _ = Discrete(ours, zero_terminal_snr=zero).table()
    theirs_now = public.alphas_cumprod.double()
    torch.testing.assert_close(alpha[1:] ** 2, theirs_now, rtol=2e-4, atol=1e-6)


def test_on_a_linspace_grid_the_exact_answer_decides() -> None:
    # diffusers' DDIM steps by T // N, which is not its grid's stride (its issue #12633): at 300
    # steps it goes down 3 entries where the next is 3.34 below. One Gaussian has an exact answer.
    data = Mixture(f64(0.5)[:, None], f64(0.3), f64(1))
    known = data.denoiser(PROCESS)
    public = scheduler("DDIMScheduler", timestep_spacing="linspace")
    public.set_timesteps(300)
    times, x = times_of(public.timesteps), gaussian(200, 1)
    exact = data.flow(PROCESS, x[:, 0], times[0], times[-1])
    mine = list(sampler("ddim")(PROCESS, known, x, times))[-1].x[:, 0]
    for index, t in zip(public.timesteps, times[:-1], strict=True):
        now = t.expand(200)
        eps = PROCESS.eps(x, known(x, now), now)
        x = public.step(eps, index, x).prev_sample
    error, theirs = (mine - exact).abs().max().item(), (x[:, 0] - exact).abs().max().item()
    assert error < 0.02
    assert theirs > 3 * error


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_euler_ancestral(spacing: str) -> None:
    public = scheduler("EulerAncestralDiscreteScheduler", timestep_spacing=spacing)
    public.set_timesteps(20)
    times = times_of(public.timesteps)
    start = gaussian(*SHAPE)
    x, generator = start / PROCESS.alpha(times[0]), torch.Generator().manual_seed(5)
    for index in public.timesteps:
        eps = eps_at(public.scale_model_input(x, index), index)
        x = public.step(eps, index, x, generator=generator).prev_sample
    agree(ours("euler_a", times, start), x)


def test_dpm2() -> None:
    # Its network too is asked at fractional timesteps, interpolated in the logarithm of sigma.
    public = scheduler("KDPM2DiscreteScheduler", timestep_spacing="trailing")
    public.set_timesteps(20)
    times = times_of(public.timesteps[0::2].clone().double())
    start = gaussian(*SHAPE)
    x = start / PROCESS.alpha(times[0])
    for index in public.timesteps:
        eps = eps_at(public.scale_model_input(x, index), index.double())
        x = public.step(eps, index, x).prev_sample
    agree(ours("dpm2", times, start), x)


def test_lms() -> None:
    public = scheduler("LMSDiscreteScheduler", timestep_spacing="trailing")
    public.set_timesteps(20)
    times = times_of(public.timesteps)
    start = gaussian(*SHAPE)
    x = start / PROCESS.alpha(times[0])
    for index in public.timesteps:
        x = public.step(eps_at(public.scale_model_input(x, index), index), index, x).prev_sample
    agree(ours("lms", times, start), x)


def test_plms() -> None:
    public = scheduler("PNDMScheduler", skip_prk_steps=True, set_alpha_to_one=True)
    public.set_timesteps(20)
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x).prev_sample
    agree(ours("plms", grid(PROCESS, "leading", 20), start), x)


@pytest.mark.parametrize(("name", "order"), [("unipc", 2), ("unipc_3", 3)])
def test_unipc(name: str, order: int) -> None:
    public = scheduler(
        "UniPCMultistepScheduler", solver_order=order, final_sigmas_type="zero",
        timestep_spacing="trailing",
    )  # fmt: skip
    public.set_timesteps(20)
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x).prev_sample
    agree(ours(name, times_of(public.timesteps), start), x)


def test_deis() -> None:
    public = scheduler(
        "DEISMultistepScheduler", solver_order=3, lower_order_final=False,
        timestep_spacing="trailing",
    )  # fmt: skip
    public.set_timesteps(20)
    times = times_of(public.timesteps)
    times[-1] = 1 / 1000  # its last step ends at the table's first entry
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x).prev_sample
    agree(ours("deis", times, start), x)


def test_dpmpp_2m_sde() -> None:
    public = scheduler(
        "DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++", final_sigmas_type="zero",
        lower_order_final=False, timestep_spacing="trailing",
    )  # fmt: skip
    public.set_timesteps(20)
    stream = Stream()
    x = start = gaussian(*SHAPE)
    for index in public.timesteps:
        x = public.step(eps_at(x, index), index, x, variance_noise=stream(0, 0)).prev_sample
    agree(ours("dpmpp_2m_sde", times_of(public.timesteps), start), x)
