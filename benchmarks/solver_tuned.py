"""The grids that `inkdrop tune`'s search finds, measured where they were not tuned.

On the mixtures the search has 256 noises of another seed and no limit of time. On the Fashion-MNIST
model it has 16 noises of another seed and ten minutes for each number of calls, on one thread. All
samplers that it takes make one call a step.
"""

from __future__ import annotations

import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from solver_cases import PROCESSES, converged, denoiser, distances, mixture, unit_noise
from solver_fashion import (
    FINE,
    FOLDER,
    NOISES,
    PROCESS,
    WORK,
    fashion_denoiser,
    noises,
    reference,
)
from solver_fashion import STORE as FASHION
from solver_fashion import converged as fashion_converged
from solver_ours import walk
from solver_store import Store
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.model import Model
from inkdrop.tune.problem import Problem
from inkdrop.tune.search import Trial, tune

BUDGETS = (5, 8, 10, 15, 20)
TUNED_ON = 256
FASHION_ON, FASHION_BUDGETS, FASHION_SECONDS = 16, (5, 8, 10), 600.0


def problem(process: Process, denoise: Denoiser, noise: Tensor, answer: Tensor) -> Problem:
    """What the search takes: the state at t_max and where the ODE leads from there."""
    end = torch.tensor([process.t_max], dtype=torch.float64)
    doubt = torch.zeros(len(noise), dtype=torch.float64)
    return Problem(process, denoise, noise * float(process.sigma(end)), answer, doubt)


def entry(trial: Trial, scores: tuple[float, float]) -> dict[str, object]:
    """What is kept of a tuned grid: its errors on noises that it was not tuned on."""
    return {
        "rms": float(f"{scores[0]:.4g}"),
        "mean": float(f"{scores[1]:.4g}"),
        "sampler": f"{trial.sampler} ({trial.found})",
        "times": [float(f"{t:.6g}") for t in trial.times.tolist()],
    }


def tuned_mixtures(store: Store) -> None:
    """Tunes and measures on every mixture."""
    for case, found in store.load()["ode"].items():
        if "tuned" in found:
            continue
        began = time.time()
        name, dims = case.split("-")
        process = PROCESSES[name]
        of = mixture(int(dims))
        denoise = denoiser(of, process)
        seen, unseen = unit_noise(TUNED_ON, int(dims), 1), unit_noise(1024, int(dims), 0)
        asked = problem(process, denoise, seen, converged(process, denoise, seen, 2000))
        truth = converged(process, denoise, unseen, 4000)
        rows = {}
        for budget in BUDGETS:
            *_, trial = tune(asked, budget)
            x = walk(trial.sampler, trial.times, {}, process, denoise, unseen)
            rows[str(budget)] = entry(trial, distances(x, truth))
        store.keep("ode", case, "tuned", value=rows)
        print(f"tuned {case}: {time.time() - began:.0f} s", flush=True)


def tuned_fashion() -> None:
    """Tunes and measures on the Fashion-MNIST model: 64 noises, 256 at 10 calls."""
    denoise = fashion_denoiser(Model.load(FOLDER))
    seen = noises(1, FASHION_ON)
    answer = _kept(WORK / "tuning.safetensors", denoise, seen)
    asked = problem(PROCESS, denoise, seen, answer)
    for budget in FASHION_BUDGETS:
        if FASHION.get("tuned", str(budget)):
            continue
        *_, trial = tune(asked, budget, seconds=FASHION_SECONDS)
        n = NOISES if budget == 10 else 64
        x = walk(trial.sampler, trial.times, {}, PROCESS, denoise, noises()[:n])
        scores = distances(x, reference(denoise, n))
        FASHION.keep("tuned", str(budget), value=entry(trial, scores))
        print(f"tuned for {budget} calls: {scores}", flush=True)


def _kept(path: Path, denoise: Denoiser, noise: Tensor) -> Tensor:
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({"x": fashion_converged(denoise, noise, FINE)}, path)
    return load_file(path)["x"]
