"""The Frechet distance, in the judge's features, of a few solvers on the Fashion-MNIST model.

At 5, 10 and 20 calls: the default, the tuned solvers, and the best of inkdrop and of both other
libraries by distance to the converged ODE. Each gives 500 samples from the same noise, with label
i % 10 and guidance 1.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from torch import Tensor

from benchmarks.quality.judge import load_judge, reference
from benchmarks.solvers.cases import Solver, run
from benchmarks.solvers.fashion import FOLDER, PROCESS, fashion_denoiser, noises
from benchmarks.solvers.fashion import STORE as FASHION
from benchmarks.solvers.ours import ours
from benchmarks.solvers.peers import peers
from benchmarks.solvers.report import LIBRARIES, fashion_chart
from benchmarks.solvers.tuned import sampled
from inkdrop.diffusion.guidance import Denoiser
from inkdrop.diffusion.process import Process
from inkdrop.evaluate.frechet import fit, frechet_distance
from inkdrop.model import Model, Tuned

SAMPLES, BUDGETS = 500, (5, 10, 20)


def _tuned(budget: int) -> Solver | None:
    found = FASHION.get("tuned", str(budget))
    if found is None:
        return None
    weights = tuple(tuple(row) for row in found["weights"])
    name = found["sampler"].split()[0]
    tuned = Tuned(budget, name, tuple(found["times"]), weights)

    def sample(process: Process, denoise: Denoiser, noise: Tensor, steps: int) -> Tensor:
        return sampled(tuned, process, denoise, noise)

    return Solver("tuned", f"tuned {found['sampler']}", False, sample)


def chosen(budget: int) -> Iterator[Solver]:
    """The solvers to measure at a number of calls."""
    named = {s.name: s for s in (*ours(PROCESS, fresh=False), *peers(PROCESS, fresh=False))}
    chart = fashion_chart("rms")
    assert chart is not None
    theirs = [found for library in LIBRARIES[1:] if (found := chart.best(library, budget))]
    for best in (chart.default(budget), chart.best("inkdrop", budget), min(theirs, default=None)):
        if best:
            yield named[best[1]]
    tuned = _tuned(budget)
    if tuned:
        yield tuned


def frechet(data: Path) -> None:
    """Measures what is still missing from the results."""
    judge = load_judge()
    real = reference("train", judge=judge, data=data)
    denoise = fashion_denoiser(Model.load(FOLDER))
    noise = noises(0, SAMPLES)
    for budget in BUDGETS:
        for solver in chosen(budget):
            if FASHION.get("frechet", str(budget), solver.name):
                continue
            x = run(solver, PROCESS, denoise, noise, budget)
            assert x is not None
            found = frechet_distance(fit(judge.features(x.float())), real)
            FASHION.keep("frechet", str(budget), solver.name, value=round(found, 3))
            print(budget, solver.name, f"{found:.3f}", flush=True)
