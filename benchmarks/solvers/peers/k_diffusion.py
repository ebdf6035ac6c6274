"""k-diffusion's samplers, each on every one of its grids."""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.solvers.cases import Solver
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process

Options = dict[str, Any]


@lru_cache(maxsize=1)
def k_diffusion() -> Any:
    """k_diffusion.sampling alone; the package's other modules need torchvision and more."""
    found = importlib.util.find_spec("k_diffusion")
    assert found is not None and found.submodule_search_locations
    package, small = types.ModuleType("k_diffusion"), types.ModuleType("k_diffusion.utils")
    folder = Path(next(iter(found.submodule_search_locations)))
    package.__path__ = [str(folder)]
    vars(small)["append_dims"] = lambda x, dims: x[(...,) + (None,) * (dims - x.ndim)]
    sys.modules.update({"k_diffusion": package, "k_diffusion.utils": small})
    if importlib.util.find_spec("torchdiffeq") is None:  # only its log_likelihood needs it
        ode = types.ModuleType("torchdiffeq")
        vars(ode)["odeint"] = None
        sys.modules["torchdiffeq"] = ode
    return importlib.import_module("k_diffusion.sampling")


def k_ends(process: Process, top: float | None) -> tuple[float, float]:
    """sigma_min and sigma_max in k-diffusion's coordinates, sigma / alpha."""
    ends = torch.tensor([process.t_min, process.t_start], dtype=torch.float64)
    low, high = (-process.logsnr(ends) / 2).exp().tolist()
    return low, min(high, top or high)


def k_grid(process: Process, name: str, top: float | None, steps: int) -> Tensor:
    """sigma / alpha [steps + 1]; a number after the grid's name is its rho."""
    k, (low, high) = k_diffusion(), k_ends(process, top)
    kind, _, number = name.partition(":")
    if kind == "vp":
        sigmas: Tensor = k.get_sigmas_vp(steps)
    elif kind == "discrete":  # like DiscreteSchedule.get_sigmas in external.py: uniform in entries
        assert isinstance(process, Discrete)
        entry = torch.linspace(process.steps, 1, steps, dtype=torch.float64)
        sigmas = k.append_zero((-process.logsnr(entry / process.steps) / 2).exp())
    elif kind == "exponential":
        sigmas = k.get_sigmas_exponential(steps, low, high)
    elif kind == "polyexponential":
        sigmas = k.get_sigmas_polyexponential(steps, low, high, float(number))
    else:
        sigmas = k.get_sigmas_karras(steps, low, high, float(number or 7))
    return sigmas.double()


def k_model(process: Process, denoise: Denoiser) -> Callable[..., Tensor]:
    """The denoiser as k-diffusion calls it: (x / alpha, sigma / alpha [B]) -> x_0."""

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        t = process.time_at(-2 * sigma[:1].double().log())
        seen = x * process.alpha(t).to(x.dtype)
        return denoise(seen, t.expand(len(x)))

    return model


def k_sample(name: str, grid: str, top: float | None, options: Options) -> Any:
    """Samples with one of k-diffusion's samplers on one of its grids."""
    sampler = getattr(k_diffusion(), f"sample_{name}")

    def sample(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
        torch.manual_seed(0)
        model, (low, high) = k_model(process, denoise), k_ends(process, top)
        if name == "dpm_fast":
            x: Tensor = sampler(model, noise * high, low, high, steps, disable=True, **options)
            return x
        if name == "dpm_adaptive":
            fine = 0.5 * 10 ** (-steps / 4)
            asked = {"rtol": fine, "atol": 0.156 * fine}  # in the ratio of its defaults
            x = sampler(model, noise * high, low, high, disable=True, **asked, **options)
            return x
        sigmas = k_grid(process, grid, top, steps)
        x = sampler(model, noise * sigmas[0], sigmas, disable=True, **options)
        return x

    return sample


# At eta = 0 dpmpp_sde is dpmpp_2s and the midpoint form of dpmpp_2m_sde is dpmpp_2m.
K_ODE: Sequence[tuple[str, Options]] = (
    ("euler", {}),
    ("heun", {}),
    ("dpm_2", {}),
    ("lms", {}),
    ("lms", {"order": 3}),
    ("lms", {"order": 2}),
    ("dpmpp_2m", {}),
    ("dpmpp_2s_ancestral", {"eta": 0.0}),
    ("dpmpp_2m_sde", {"eta": 0.0, "solver_type": "heun"}),
    ("dpmpp_3m_sde", {"eta": 0.0}),
)
EDM_CHURN = {"s_churn": 40.0, "s_tmin": 0.05, "s_tmax": 50.0, "s_noise": 1.003}
K_SDE: Sequence[tuple[str, Options]] = (
    ("euler_ancestral", {}),
    ("dpm_2_ancestral", {}),
    ("dpmpp_2s_ancestral", {}),
    ("dpmpp_sde", {}),
    ("dpmpp_2m_sde", {"solver_type": "midpoint"}),
    ("dpmpp_2m_sde", {"solver_type": "heun"}),
    ("dpmpp_3m_sde", {}),
    ("euler", EDM_CHURN),
    ("heun", EDM_CHURN),
    ("dpm_2", EDM_CHURN),
)
K_GRIDS = ("karras", "karras:3", "karras:5", "karras:10", "exponential")
K_GRIDS_ODE = ("polyexponential:0.5", "polyexponential:0.75", "polyexponential:1.5", "vp")


def k_solvers(process: Process, *, fresh: bool) -> Iterator[Solver]:
    """Every sampler on every grid, from the process's end and from sigma / alpha = 80."""
    _, end = k_ends(process, None)
    tops = [None] if end <= 80 else [None, 80.0]
    grids = [*K_GRIDS, *(() if fresh else K_GRIDS_ODE)]
    places = [(grid, top) for grid in grids for top in tops if grid != "vp" or top is None]
    if isinstance(process, Discrete):
        places.append(("discrete", None))
    for (name, options), (grid, top) in product(K_SDE if fresh else K_ODE, places):
        yield _k_solver(name, grid, top, options, fresh)
    for top in tops:
        yield _k_solver("dpm_fast", "", top, {"eta": 1.0} if fresh else {}, fresh)
        for order in () if fresh else (2, 3):
            yield _k_solver("dpm_adaptive", "", top, {"order": order}, fresh)


def _k_solver(name: str, grid: str, top: float | None, options: Options, fresh: bool) -> Solver:
    words = [
        name,
        grid,
        *(["top=80"] if top else []),
        *(f"{key}={value}" for key, value in options.items()),
    ]
    sample = k_sample(name, grid, top, options)
    kept = " ".join(word for word in words if word)
    return Solver(f"k-diffusion {name}", f"k-diffusion {kept}", fresh, sample, "adaptive" in name)
