"""diffusers' schedulers, each with every combination of its options."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import diffusers
import numpy as np
import torch
from torch import Tensor

from benchmarks.solvers.cases import Solver
from benchmarks.solvers.peers.choices import (
    EDM_ODE,
    EDM_SDE,
    FLOW_ODE,
    FLOW_SDE,
    SPACINGS,
    TABLE_ODE,
    TABLE_SDE,
)
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import VE, Process

Options = dict[str, Any]
Predict = Callable[[Any, int, Tensor, Tensor, Denoiser], Tensor]


def of_table(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """v or eps for a discrete table at the scheduler's timestep t, which is entry t + 1 of ours."""
    process = TABLES[scheduler.config.beta_schedule]
    time = ((t.double() + 1) / process.steps).reshape(1)
    alpha, sigma = float(process.alpha(time)), float(process.sigma(time))
    x0 = denoise(seen, time.expand(len(seen)))
    eps = (seen - alpha * x0) / sigma
    return alpha * eps - sigma * x0 if scheduler.config.prediction_type == "v_prediction" else eps


def of_flow(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """eps - x_0; uses the scheduler's sigma in place of timesteps truncated to integers."""
    time = t.double() / 1000 if t.is_floating_point() else scheduler.sigmas[i].double()
    x0 = denoise(seen, time.reshape(1).expand(len(seen)))
    return (seen - x0) / float(time)


def of_edm(scheduler: Any, i: int, seen: Tensor, t: Tensor, denoise: Denoiser) -> Tensor:
    """The raw output under EDM's preconditioning, which the scheduler undoes."""
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
    """The sampling loop from the documentation of diffusers."""

    def sample(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
        torch.manual_seed(0)
        scheduler = getattr(diffusers, name)(**config)
        if even:  # as the flow pipelines of diffusers request
            scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / steps, steps))
        else:
            scheduler.set_timesteps(steps)
        if hasattr(scheduler, "set_begin_index"):  # else it looks up timesteps, which can repeat
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
