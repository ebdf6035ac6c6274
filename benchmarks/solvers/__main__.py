"""The accuracy of samplers for a given number of network calls, compared with two libraries.

    pip install diffusers torchsde matplotlib && pip install --no-deps k-diffusion
    python -m benchmarks.solvers mixtures    exact mixtures, every sampler and grid of all three
    python -m benchmarks.solvers tuned       grids tuned on the mixtures with other noise
    python -m benchmarks.solvers fashion     the committed Fashion-MNIST model (fashion.py)
    python -m benchmarks.solvers tuned-fashion
    python -m benchmarks.solvers frechet     Frechet distance of the default, best and tuned ones
    python -m benchmarks.solvers table       the best of each library, as Markdown
    python -m benchmarks.solvers draw        benchmarks/results/solvers_*.png

Results are written to benchmarks/results/solvers*.json as they come, and a rerun resumes there.

On the mixtures the denoiser is exact. The error of a deterministic solver is the root mean square
distance to the converged solution of the ODE from the same noise. For a stochastic solver it is
the misfit to the mixture's weights, means and standard deviations (`cases.misfit`), which is above
zero even for exact samples, as there are finitely many. For a budget of calls, a solver takes as
many steps as fit into it.
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
from typing import Any

import torch
from torch import Tensor

from benchmarks import fashion_mnist, places
from benchmarks.solvers.cases import (
    BUDGETS,
    ODE_SCORES,
    PROCESSES,
    Solver,
    check_denoiser,
    converged,
    denoiser,
    distances,
    misfit,
    mixture,
    run,
    unit_noise,
)
from benchmarks.solvers.fashion import fashion
from benchmarks.solvers.frechet import frechet
from benchmarks.solvers.ours import ours
from benchmarks.solvers.peers import peers
from benchmarks.solvers.report import draw, table
from benchmarks.solvers.store import Store
from benchmarks.solvers.tuned import tuned_fashion, tuned_mixtures
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process

STORE = Store(places.RESULTS / "solvers.json")
DIMS = (2, 64)
ODE_NOISES, FINE = 1024, 4000
SDE_NOISES = {2: 4096, 64: 2048}


# ---- measuring


@dataclass(frozen=True)
class Problem:
    """A denoiser, the initial noise, and named scores for the resulting samples."""

    process: Process
    denoise: Denoiser
    noise: Tensor
    names: tuple[str, ...]
    scores: Callable[[Tensor], tuple[float, ...]]


# {family: {solver: one error for each of BUDGETS}}
Rows = dict[str, dict[str, list[float | None]]]


def errors(solver: Solver, problem: Problem, failed: Counter[str]) -> list[list[float | None]]:
    """For each score, one error per budget; None if the solver exceeds the budget or fails."""
    found: list[list[float | None]] = [[] for _ in problem.names]
    for budget in BUDGETS:
        scores = (math.nan,) * len(problem.names)
        try:
            x = run(solver, problem.process, problem.denoise, problem.noise, budget)
            if x is not None:
                scores = problem.scores(x)
                if not math.isfinite(scores[0]):
                    failed[f"{solver.family}: not finite"] += 1
        except Exception as error:  # third-party code: failures are counted and reported
            failed[f"{solver.family}: {type(error).__name__} {str(error)[:80]}"] += 1
        for column, score in zip(found, scores, strict=True):
            column.append(float(f"{score:.4g}") if math.isfinite(score) else None)
    return found


def measured(solvers: Iterable[Solver], problem: Problem) -> dict[str, Any]:
    """The errors of all solvers by score, family and name, and how often which one failed."""
    rows: dict[str, Rows] = {name: {} for name in problem.names}
    failed: Counter[str] = Counter()
    count = 0
    for solver in solvers:
        found = errors(solver, problem, failed)
        count += 1
        if any(error is not None for error in found[0]):
            for name, column in zip(problem.names, found, strict=True):
                rows[name].setdefault(solver.family, {})[solver.name] = column
    return {"solvers": count, "failed": dict(failed), **rows}


def leaders(rows: Rows) -> Rows:
    """Only the solvers that are the best of their family at some number of calls."""
    kept: Rows = {}
    for family, named in rows.items():
        for i in range(len(BUDGETS)):
            there = [(errors[i], name) for name, errors in named.items()]
            best = min(((error, name) for error, name in there if error is not None), default=None)
            if best:
                kept.setdefault(family, {})[best[1]] = named[best[1]]
    return kept


# ---- mixtures


def ode_problem(process: Process, dims: int) -> tuple[Problem, float]:
    """Distance to the converged ODE from the same noise; and that distance with half its steps."""
    of = mixture(dims)
    check_denoiser(of, process)
    denoise, noise = denoiser(of, process), unit_noise(ODE_NOISES, dims, 0)
    truth = converged(process, denoise, noise, FINE)
    halved = distances(converged(process, denoise, noise, FINE // 2), truth)[0]
    return Problem(process, denoise, noise, ODE_SCORES, partial(distances, truth=truth)), halved


def sde_problem(process: Process, dims: int) -> tuple[Problem, float]:
    """Misfit to the mixture; and the misfit of as many exact samples."""
    of = mixture(dims)
    noise = unit_noise(SDE_NOISES[dims], dims, 0)
    exact = sum(misfit(of.sample(len(noise), seed=10 * i), of) for i in range(5)) / 5
    scores = partial(misfits, of=of)
    return Problem(process, denoiser(of, process), noise, ("misfit",), scores), exact


def misfits(x: Tensor, of: Any) -> tuple[float]:
    """The only score of stochastic solvers."""
    return (misfit(x, of),)


def mixtures() -> None:
    """Measures every solver of all three libraries on every mixture, ours first."""
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
            found |= {score: leaders(found[score]) for score in problem.names}
        STORE.keep(kind, case, "half the steps" if kind == "ode" else "exact draws", value=check)
        STORE.keep(kind, case, side, value=found)
        print(f"{kind} {case} {side}: {time.time() - began:.0f} s", flush=True)


def main() -> None:
    """Runs one of the parts."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.solvers",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parts: dict[str, Callable[[], None]] = {
        "mixtures": mixtures,
        "fashion": fashion,
        "tuned": partial(tuned_mixtures, STORE),
        "tuned-fashion": tuned_fashion,
        "frechet": lambda: frechet(args.data),
        "table": partial(table, STORE),
        "draw": partial(draw, STORE, STORE.path.parent),
    }
    parser.add_argument("part", choices=parts)
    fashion_mnist.add_data_option(parser)
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")  # those of the other libraries
    parts[args.part]()


if __name__ == "__main__":
    main()
