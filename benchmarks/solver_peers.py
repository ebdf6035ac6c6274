"""The samplers of diffusers and of k-diffusion behind the interface of solver_cases.Solver.

Both are driven as their documentation shows, with the same denoiser and from the same unit noise as
inkdrop; the start is what each of their schedulers expects of it. Left out of diffusers, because
they are for something else: consistency models (LCM, TCD, CM, SCM, FlowMatchLCM), tokens,
inversion, inpainting and single models' own schedulers; IPNDM, whose process is fixed and another;
ScoreSdeVe and KarrasVe, deprecated; copies of DDIM and DDPM (Parallel, CogVideoX, UnCLIP).
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import torch
from solver_cases import Solver
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import VE, Discrete, Process

Options = dict[str, Any]
Predict = Callable[[Any, int, Tensor, Tensor, Denoiser], Tensor]


# ---- k-diffusion


@lru_cache(maxsize=1)
def k_diffusion() -> Any:
    """k_diffusion.sampling alone: the package's other modules want torchvision and more."""
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
    """sigma_min and sigma_max in its coordinates, sigma / alpha."""
    ends = torch.tensor([process.t_min, process.t_start], dtype=torch.float64)
    low, high = (-process.logsnr(ends) / 2).exp().tolist()
    return low, min(high, top or high)


def k_grid(process: Process, name: str, top: float | None, steps: int) -> Tensor:
    """sigma / alpha [steps + 1]; a number after the name is its rho."""
    k, (low, high) = k_diffusion(), k_ends(process, top)
    kind, _, number = name.partition(":")
    if kind == "vp":
        sigmas: Tensor = k.get_sigmas_vp(steps)
    elif kind == "discrete":  # DiscreteSchedule.get_sigmas of external.py: even in its entries
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
    """Its model: (x / alpha, sigma / alpha [B]) -> x_0."""

    def model(x: Tensor, sigma: Tensor) -> Tensor:
        t = process.time_at(-2 * sigma[:1].double().log())
        seen = x * process.alpha(t).to(x.dtype)
        return denoise(seen, t.expand(len(x)))

    return model


def k_sample(name: str, grid: str, top: float | None, options: Options) -> Any:
    """One of its samplers on one of its grids."""
    sampler = getattr(k_diffusion(), f"sample_{name}")

    def sample(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
        torch.manual_seed(0)
        model, (low, high) = k_model(process, denoise), k_ends(process, top)
        if name == "dpm_fast":
            x: Tensor = sampler(model, noise * high, low, high, steps, disable=True, **options)
            return x
        if name == "dpm_adaptive":
            fine = 0.5 * 10 ** (-steps / 4)
            asked = {"rtol": fine, "atol": 0.156 * fine}  # in the proportion of its defaults
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
    words = [name, grid, *(["top=80"] if top else []), *_words(options)]
    sample = k_sample(name, grid, top, options)
    kept = " ".join(word for word in words if word)
    return Solver(f"k-diffusion {name}", f"k-diffusion {kept}", fresh, sample, "adaptive" in name)


def _words(options: Mapping[str, Any]) -> list[str]:
    return [f"{key}={value}" for key, value in options.items()]


# ---- diffusers


def of_table(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """v or eps of a discrete table at the scheduler's timestep; entry t + 1 of ours."""
    process = TABLES[scheduler.config.beta_schedule]
    time = ((t.double() + 1) / process.steps).reshape(1)
    alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
    x0 = denoise(seen, time.expand(len(seen)))
    eps = (seen - alpha * x0) / sigma
    return alpha * eps - sigma * x0 if scheduler.config.prediction_type == "v_prediction" else eps


def of_flow(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """eps - x_0. Timesteps that were cut to integers are replaced by the scheduler's own sigma."""
    time = t.double() / 1000 if t.is_floating_point() else scheduler.sigmas[i].double()
    x0 = denoise(seen, time.reshape(1).expand(len(seen)))
    return (seen - x0) / float(time)


def of_edm(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """The output inside EDM's preconditioning, which the scheduler undoes."""
    sigma, data = float(scheduler.sigmas[i]), scheduler.config.sigma_data
    width = (sigma**2 + data**2) ** 0.5
    x = seen * width  # seen is x / width
    time = torch.tensor([sigma], dtype=torch.float64)
    x0 = denoise(x, time.expand(len(x)))
    out = sigma * data / width
    if scheduler.config.prediction_type == "v_prediction":
        out = -out
    inside: Tensor = (x0 - (data / width) ** 2 * x) / out
    return inside


TABLES = {"linear": Discrete("linear"), "squaredcos_cap_v2": Discrete("cosine")}


def drive(
    name: str, config: Options, predict: Predict, step_options: Options, even: bool = False
) -> Any:
    """The loop of its documentation."""

    def sample(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
        torch.manual_seed(0)
        scheduler = getattr(diffusers, name)(**config)
        if even:  # as its pipelines for flow ask
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
        else:
            scheduler.set_timesteps(steps)
        if hasattr(scheduler, "set_begin_index"):  # else it looks timesteps up, which may repeat
            scheduler.set_begin_index(0)
        x = noise * float(getattr(scheduler, "init_noise_sigma", 1.0))
        for i, t in enumerate(scheduler.timesteps):
            seen = (
                scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
            )
            out = predict(scheduler, i, seen, t, denoise)
            x = scheduler.step(out, t, x, **step_options).prev_sample
        return x

    return sample


SPACINGS = ("linspace", "leading", "trailing")
KINDS = ("karras", "exponential", "beta")
# Schedulers whose own sigmas are independent of the spacing, and those of k-diffusion's kind.
APART = (*SPACINGS, *KINDS)
BOTH = tuple(f"{spacing} {kind}".strip() for spacing in SPACINGS for kind in ("", *KINDS))
FINAL = ("zero", "sigma_min")
ORDERS = {"solver_order": (2, 3)}
MULTISTEP = ORDERS | {"solver_type": ("midpoint", "heun")}
UNIPC = ORDERS | {"solver_type": ("bh1", "bh2"), "predict_x0": (True, False)}
SHIFTS = (0.5, 1.0, 2.0, 3.0, 5.0)

Choices = Mapping[str, Sequence[Any]]
TABLE_ODE: Sequence[tuple[str, Choices]] = (
    ("DDIMScheduler", {"grid": SPACINGS, "set_alpha_to_one": (True, False)}),
    ("DDIMScheduler", {"grid": ("leading",), "steps_offset": (1,)}),
    (
        "PNDMScheduler",
        {"grid": SPACINGS, "skip_prk_steps": (True, False), "set_alpha_to_one": (True, False)},
    ),
    ("LMSDiscreteScheduler", {"grid": BOTH}),
    (
        "EulerDiscreteScheduler",
        {"grid": BOTH, "final_sigmas_type": FINAL, "interpolation_type": ("linear", "log_linear")},
    ),
    ("HeunDiscreteScheduler", {"grid": BOTH}),
    ("KDPM2DiscreteScheduler", {"grid": BOTH}),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            **MULTISTEP,
            "final_sigmas_type": FINAL,
            "euler_at_final": (False, True),
        },
    ),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            **MULTISTEP,
            "algorithm_type": ("dpmsolver",),
            "final_sigmas_type": ("sigma_min",),
        },
    ),
    (
        "DPMSolverMultistepScheduler",
        {"grid": SPACINGS, **MULTISTEP, "lambda_min_clipped": (-5.1,), "final_sigmas_type": FINAL},
    ),
    (
        "DPMSolverSinglestepScheduler",
        {"grid": ("linspace", *KINDS), **MULTISTEP, "final_sigmas_type": FINAL},
    ),
    (
        "DPMSolverSinglestepScheduler",
        {
            "grid": ("linspace", *KINDS),
            **MULTISTEP,
            "algorithm_type": ("dpmsolver",),
            "final_sigmas_type": ("sigma_min",),
        },
    ),
    ("DEISMultistepScheduler", {"grid": APART, **ORDERS}),
    ("UniPCMultistepScheduler", {"grid": APART, **UNIPC, "final_sigmas_type": FINAL}),
    (
        "SASolverScheduler",
        {"grid": APART, "predictor_order": (2, 3), "corrector_order": (2, 3), "tau": (0,)},
    ),
)
TABLE_SDE: Sequence[tuple[str, Choices]] = (
    ("DDPMScheduler", {"grid": SPACINGS, "variance_type": ("fixed_small", "fixed_large")}),
    ("DDIMScheduler", {"grid": SPACINGS, "eta": (1.0,)}),
    ("EulerAncestralDiscreteScheduler", {"grid": SPACINGS}),
    ("KDPM2AncestralDiscreteScheduler", {"grid": BOTH}),
    ("DPMSolverSDEScheduler", {"grid": BOTH}),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
            "euler_at_final": (False, True),
        },
    ),
    ("SASolverScheduler", {"grid": APART, "predictor_order": (2, 3), "corrector_order": (2, 3)}),
)
EDM_GRIDS = {"sigma_schedule": ("karras", "exponential"), "final_sigmas_type": FINAL}
EDM_ODE: Sequence[tuple[str, Choices]] = (
    ("EDMEulerScheduler", {**EDM_GRIDS, "rho": (7.0, 5.0, 3.0)}),
    (
        "EDMDPMSolverMultistepScheduler",
        {**EDM_GRIDS, "rho": (7.0, 5.0, 3.0), **MULTISTEP, "euler_at_final": (False, True)},
    ),
)
EDM_SDE: Sequence[tuple[str, Choices]] = (
    (
        "EDMDPMSolverMultistepScheduler",
        {
            "sigma_schedule": ("karras", "exponential"),
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
        },
    ),
    (
        "CosineDPMSolverMultistepScheduler",
        {
            "sigma_min": (0.002,),
            "sigma_max": (80.0,),
            "sigma_schedule": ("karras", "exponential"),
            "solver_type": ("midpoint", "heun"),
        },
    ),
)
SHIFTED = {"flow_shift": SHIFTS, "use_flow_sigmas": (True,)}
FLOW_ODE: Sequence[tuple[str, Choices]] = (
    ("FlowMatchEulerDiscreteScheduler", {"grid": ("", *KINDS), "shift": SHIFTS}),
    ("FlowMatchEulerDiscreteScheduler", {"even": (True,), "shift": SHIFTS}),
    ("FlowMatchHeunDiscreteScheduler", {"shift": SHIFTS}),
    ("DPMSolverMultistepScheduler", {**SHIFTED, **MULTISTEP, "euler_at_final": (False, True)}),
    ("DPMSolverSinglestepScheduler", {**SHIFTED, **MULTISTEP}),
    ("DEISMultistepScheduler", {**SHIFTED, **ORDERS}),
    ("UniPCMultistepScheduler", {**SHIFTED, **UNIPC, "even": (False, True)}),
    (
        "UniPCMultistepScheduler",
        {"grid": KINDS, "use_flow_sigmas": (True,), **UNIPC},
    ),
    (
        "SASolverScheduler",
        {**SHIFTED, "predictor_order": (2, 3), "corrector_order": (2, 3), "tau": (0,)},
    ),
)
FLOW_SDE: Sequence[tuple[str, Choices]] = (
    ("FlowMatchEulerDiscreteScheduler", {"shift": SHIFTS, "stochastic_sampling": (True,)}),
    ("LTXEulerAncestralRFScheduler", {"even": (True,)}),
    (
        "DPMSolverMultistepScheduler",
        {
            **SHIFTED,
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
        },
    ),
    ("SASolverScheduler", {**SHIFTED, "predictor_order": (2, 3), "corrector_order": (2, 3)}),
)


def diffusers_solvers(process: Process, *, fresh: bool) -> Iterator[Solver]:
    """Every scheduler for the process, with every combination of its options."""
    diffusers.utils.logging.set_verbosity_error()
    if isinstance(process, Discrete):
        name = {table: name for name, table in TABLES.items()}[process]
        fixed = {"beta_schedule": name, "prediction_type": "v_prediction"}
        families, predict = (TABLE_SDE if fresh else TABLE_ODE), of_table
    elif isinstance(process, VE):
        fixed, families, predict = {}, (EDM_SDE if fresh else EDM_ODE), of_edm
    else:
        fixed = {"prediction_type": "flow_prediction"}
        families, predict = (FLOW_SDE if fresh else FLOW_ODE), of_flow
    for scheduler, choices in families:
        for values in product(*choices.values()):
            chosen = dict(zip(choices, values, strict=True))
            yield _diffusers_solver(scheduler, chosen, fixed, predict, fresh)


def _diffusers_solver(
    scheduler: str, chosen: Options, fixed: Options, predict: Predict, fresh: bool
) -> Solver:
    config, asked = dict(fixed), dict(chosen)
    step_options = {"eta": asked.pop("eta")} if "eta" in asked else {}
    even = asked.pop("even", False)
    for word in asked.pop("grid", "").split():
        if word in SPACINGS:
            config["timestep_spacing"] = word
        else:
            config["use_lu_lambdas" if word == "lu" else f"use_{word}_sigmas"] = True
    if "tau" in asked:
        tau = asked.pop("tau")
        config["tau_func"] = lambda t: tau
    if scheduler in ("DDIMScheduler", "DDPMScheduler"):
        config["clip_sample"] = False
    if scheduler == "DPMSolverSinglestepScheduler":
        config.pop("timestep_spacing", None)
        config["lower_order_final"] = True
    if scheduler.startswith(("FlowMatch", "LTX")):
        config.pop("prediction_type", None)
    config.update(asked)
    label = scheduler.removesuffix("Scheduler")
    words = [str(chosen[key]) if key == "grid" else f"{key}={chosen[key]}" for key in chosen]
    name = f"diffusers {label} {' '.join(words)}"
    sample = drive(scheduler, config, predict, step_options, even)
    return Solver(f"diffusers {label}", name, fresh, sample)


def peers(process: Process, *, fresh: bool) -> list[Solver]:
    """All that both libraries have for the process."""
    both = [*diffusers_solvers(process, fresh=fresh), *k_solvers(process, fresh=fresh)]
    return list({solver.name: solver for solver in both}.values())
