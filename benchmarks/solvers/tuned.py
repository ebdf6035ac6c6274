"""The results of the search in `inkdrop tune`, measured on noise that it was not tuned on.

On the mixtures the search uses 256 noises from another seed, without a time limit. On the
Fashion-MNIST model it uses 16 noises from another seed, and 300 seconds per number of calls on one
busy thread. All samplers it considers make one call per step.
"""

from __future__ import annotations

import time

import torch
from torch import Tensor

from benchmarks.solvers.cases import PROCESSES, converged, denoiser, distances, mixture, unit_noise
from benchmarks.solvers.fashion import FOLDER, NOISES, PROCESS, fashion_denoiser, noises, reference
from benchmarks.solvers.fashion import STORE as FASHION
from benchmarks.solvers.store import Store
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import sampler
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.model import Model, Tuned
from inkdrop.tune.fit import kept
from inkdrop.tune.problem import solve
from inkdrop.tune.search import tune

BUDGETS = (5, 8, 10, 15, 20)
TUNED_ON = 256
FASHION_ON, FASHION_BUDGETS, FASHION_SECONDS = 16, (5, 8, 10), 300.0


def at_end(process: Process, noise: Tensor) -> Tensor:
    """Unit noise as the state at t_max."""
    end = torch.tensor([process.t_max], dtype=torch.float64)
    return noise * float(process.sigma(end))


def sampled(tuned: Tuned, process: Process, denoise: Denoiser, noise: Tensor) -> Tensor:
    """Samples from unit noise with a tuned solver."""
    run = fitted(tuned.weights) if tuned.weights else sampler(tuned.sampler)
    times = torch.tensor(tuned.times, dtype=torch.float64)
    for step in run(process, denoise, at_end(process, noise), times):
        x = step.x
    return x


def entry(tuned: Tuned, found: str, scores: tuple[float, float]) -> dict[str, object]:
    """The stored result of a tuned solver, with its errors on noise it was not tuned on."""
    return {
        "rms": float(f"{scores[0]:.4g}"),
        "mean": float(f"{scores[1]:.4g}"),
        "sampler": f"{tuned.sampler} ({found})",
        "times": tuned.times,
        "weights": tuned.weights,
    }


def tuned_mixtures(store: Store) -> None:
    """Tunes and measures on every mixture."""
    for case in store.load()["ode"]:
        if store.get("ode", case, "tuned"):
            continue
        began = time.time()
        name, dims = case.split("-")
        process = PROCESSES[name]
        denoise = denoiser(mixture(int(dims)), process)
        asked = solve(process, denoise, at_end(process, unit_noise(TUNED_ON, int(dims), 1)))
        unseen = unit_noise(1024, int(dims), 0)
        truth = converged(process, denoise, unseen, 4000)
        rows = {}
        for budget in BUDGETS:
            *_, trial = tune(asked, budget)
            tuned = kept(asked, trial)
            x = sampled(tuned, process, denoise, unseen)
            rows[str(budget)] = entry(tuned, trial.found, distances(x, truth))
        store.keep("ode", case, "tuned", value=rows)
        print(f"tuned {case}: {time.time() - began:.0f} s", flush=True)


def tuned_fashion() -> None:
    """Tunes and measures on the Fashion-MNIST model: 64 noises, 256 at 10 calls."""
    denoise = fashion_denoiser(Model.load(FOLDER))
    asked = solve(PROCESS, denoise, at_end(PROCESS, noises(1, FASHION_ON)))
    for budget in FASHION_BUDGETS:
        if FASHION.get("tuned", str(budget)):
            continue
        *_, trial = tune(asked, budget, seconds=FASHION_SECONDS)
        tuned = kept(asked, trial)
        n = NOISES if budget == 10 else 64
        x = sampled(tuned, PROCESS, denoise, noises()[:n])
        scores = distances(x, reference(n))
        FASHION.keep("tuned", str(budget), value=entry(tuned, trial.found, scores))
        print(f"tuned for {budget} calls: {scores}", flush=True)
