"""How near each sampler comes to the truth for a number of network calls, beside two libraries.

    pip install diffusers torchsde matplotlib && pip install --no-deps k-diffusion
    python benchmarks/solvers.py mixtures    exact mixtures, every sampler and grid of all three
    python benchmarks/solvers.py fashion     the committed Fashion-MNIST model (solver_fashion.py)
    python benchmarks/solvers.py table       the best of each, as Markdown
    python benchmarks/solvers.py draw        benchmarks/results/solvers_*.png

Everything is kept in benchmarks/results/solvers*.json as it comes, and a rerun goes on there.

On the mixtures the denoiser is exact. A deterministic solver's error is the root mean square
distance to the end of the converged ODE from the same noise; a stochastic one's is its misfit to
the mixture's weights, means and spreads (`solver_cases.misfit`), which is not zero for exact draws
of that number either. A number of calls is kept by taking as many steps as fit into it.
"""

from __future__ import annotations

import argparse
import math
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from solver_cases import (
    BUDGETS,
    PROCESSES,
    Solver,
    check_denoiser,
    converged,
    denoiser,
    distance,
    misfit,
    mixture,
    run,
)
from solver_fashion import fashion
from solver_ours import ours
from solver_peers import peers
from solver_report import draw, table
from solver_store import Store
from torch import Tensor

from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.noise import generator
from inkdrop.diffusion.process import Process

STORE = Store(Path(__file__).parent / "results" / "solvers.json")
DIMS = (2, 64)
ODE_NOISES, FINE = 1024, 4000
SDE_NOISES = {2: 4096, 64: 2048}


# ---- measuring


@dataclass(frozen=True)
class Problem:
    """A denoiser with the noises to start from, and the score of what comes out."""

    process: Process
    denoise: Denoiser
    noise: Tensor
    score: Callable[[Tensor], float]


Rows = dict[str, dict[str, list[float | None]]]


def errors(solver: Solver, problem: Problem, failed: Counter[str]) -> list[float | None]:
    """One score for each budget; None where it cannot keep the budget or breaks."""
    found: list[float | None] = []
    for budget in BUDGETS:
        try:
            x = run(solver, problem.process, problem.denoise, problem.noise, budget)
        except Exception as error:  # other people's code: what breaks is counted and named
            failed[f"{solver.family}: {type(error).__name__} {str(error)[:80]}"] += 1
            found.append(None)
            continue
        score = math.nan if x is None else problem.score(x)
        if x is not None and not math.isfinite(score):
            failed[f"{solver.family}: not finite"] += 1
        found.append(float(f"{score:.4g}") if math.isfinite(score) else None)
    return found


def measured(solvers: Iterable[Solver], problem: Problem) -> dict[str, Any]:
    """The errors of all solvers by family and name, and what failed how often."""
    rows: Rows = {}
    failed: Counter[str] = Counter()
    count = 0
    for solver in solvers:
        found = errors(solver, problem, failed)
        if any(error is not None for error in found):
            rows.setdefault(solver.family, {})[solver.name] = found
        count += 1
    return {"solvers": count, "rows": rows, "failed": dict(failed)}


def leaders(rows: Rows) -> Rows:
    """Only those of each family that are its best at some number of calls."""
    kept: Rows = {}
    for family, named in rows.items():
        for i in range(len(BUDGETS)):
            there = {name: r[i] for name, r in named.items() if r[i] is not None}
            if there:
                name = min(there, key=lambda name: there[name] or 0.0)
                kept.setdefault(family, {})[name] = named[name]
    return kept


# ---- mixtures


def unit_noise(n: int, dims: int, seed: int) -> Tensor:
    """Noises [n, dims] to start from; seed 0 is measured, others are for tuning."""
    return torch.randn(n, dims, generator=generator(seed, "solvers", dims), dtype=torch.float64)


def ode_problem(process: Process, dims: int) -> tuple[Problem, float]:
    """Distance to the converged ODE from the same noise, and how far half the steps are from it."""
    of = mixture(dims)
    check_denoiser(of, process)
    denoise, noise = denoiser(of, process), unit_noise(ODE_NOISES, dims, 0)
    truth = converged(process, denoise, noise, FINE)
    halved = distance(converged(process, denoise, noise, FINE // 2), truth)
    return Problem(process, denoise, noise, partial(distance, truth=truth)), halved


def sde_problem(process: Process, dims: int) -> tuple[Problem, float]:
    """Misfit to the mixture, and that of as many exact draws."""
    of = mixture(dims)
    noise = unit_noise(SDE_NOISES[dims], dims, 0)
    exact = sum(misfit(of.sample(len(noise), seed=10 * i), of) for i in range(5)) / 5
    return Problem(process, denoiser(of, process), noise, partial(misfit, of=of)), exact


def mixtures() -> None:
    """Every solver of all three libraries on every mixture; ours first."""
    parts = [
        (side, kind, name, dims)
        for kind in ("ode", "sde")
        for side in ("ours", "theirs")
        for dims in DIMS
        for name in PROCESSES
    ]
    for side, kind, name, dims in parts:
        case = f"{name}-{dims}"
        if STORE.get(kind, case, side):
            continue
        began, process = time.time(), PROCESSES[name]
        problem, check = (ode_problem if kind == "ode" else sde_problem)(process, dims)
        solvers = ours if side == "ours" else peers
        found = measured(solvers(process, fresh=kind == "sde"), problem)
        if side == "theirs":
            found["rows"] = leaders(found["rows"])
        STORE.keep(kind, case, "half the steps" if kind == "ode" else "exact draws", value=check)
        STORE.keep(kind, case, side, value=found)
        print(f"{kind} {case} {side}: {time.time() - began:.0f} s", flush=True)


def main() -> None:
    """Runs one of the parts."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parts: dict[str, Callable[[], None]] = {
        "mixtures": mixtures,
        "fashion": fashion,
        "table": partial(table, STORE),
        "draw": partial(draw, STORE, STORE.path.parent),
    }
    parser.add_argument("part", choices=parts)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # of the peers' own
    parts[args.part]()


if __name__ == "__main__":
    main()
