"""Tuning on exact mixtures: nearer to the true flow than every grid by name, on unseen noises."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from exact import LINE, PROCESSES, THREE, gaussian
from torch import Tensor

from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import sampler
from inkdrop.diffusion.times import grid
from inkdrop.tune.problem import Counted, Problem, calls_to_solve, solve
from inkdrop.tune.search import SAMPLERS, STARTS, tune

# Those that begin at a finite log-SNR; in the others all grids share a first step of first order.
FINITE = {name: p for name, p in PROCESSES.items() if p.t_start == p.t_max}


def noises(process: Process, n: int, dims: int, seed: int) -> Tensor:
    end = torch.tensor([process.t_max], dtype=torch.float64)
    return process.sigma(end) * gaussian(n, dims, seed=seed)


def posed(process: Process, seed: int, n: int = 64) -> Problem:
    return solve(process, THREE.denoiser(process), noises(process, n, 2, seed))


@pytest.mark.parametrize("process", FINITE.values(), ids=FINITE.keys())
def test_the_answer_is_the_exact_flow_within_its_doubt(process: Process) -> None:
    start, low = (torch.tensor(t, dtype=torch.float64) for t in (process.t_max, process.t_min))
    x = noises(process, 40, 1, seed=1)
    counted = Counted(LINE.denoiser(process))
    problem = solve(process, counted, x)
    assert counted.calls == calls_to_solve()
    end = LINE.flow(process, x[:, 0], start, low)
    exact = LINE.denoiser(process)(end[:, None], low.expand(40))
    gap = problem.errors(exact)
    # The answer's own error, of second order, is a third of what halving shows.
    assert (gap < problem.doubt + 1e-4).float().mean() > 0.9


@pytest.mark.parametrize("name", ["linear", "cosine", "ve", "flow"])
def test_a_tuned_grid_is_nearer_on_noises_it_did_not_see(name: str) -> None:
    process = PROCESSES[name]
    seen, unseen = posed(process, 1), posed(process, 2, 256)
    trials = list(tune(seen, 6, samplers=("dpmpp_2m", "unipc")))
    errors = [trial.error for trial in trials]
    assert all(a > b for a, b in pairwise(errors))
    last = trials[-1]
    assert last.found.endswith("tuned")
    assert last.times[0] == process.t_max and last.times[-1] == 0 and len(last.times) == 7
    named = [
        unseen.error(unseen.run(sampler(way), grid(process, start, 6)))
        for way in ("dpmpp_2m", "unipc")
        for start in STARTS
        if process.t_max == 1 or start.split(":")[0] not in ("beta", "shift")
    ]
    tuned = unseen.error(unseen.run(sampler(last.sampler), last.times))
    assert tuned < 0.9 * min(named)


def test_its_error_is_that_of_its_run() -> None:
    problem = posed(PROCESSES["flow"], 3, 16)
    for trial in tune(problem, 3, samplers=("ddim",)):
        again = problem.error(problem.run(sampler(trial.sampler), trial.times))
        assert trial.error == pytest.approx(again, rel=1e-12)


def test_time_that_is_over_still_gives_one_trial() -> None:
    trials = list(tune(posed(PROCESSES["cosine"], 1, 8), 4, seconds=0.0))
    assert len(trials) == 1 and trials[0].sampler == SAMPLERS[0] and trials[0].found == STARTS[0]


def test_nothing_to_tune_is_refused() -> None:
    problem = posed(PROCESSES["cosine"], 1, 8)
    with pytest.raises(ValueError, match="a grid of one step has no time"):
        list(tune(problem, 1))
    few = posed(PROCESSES["cosine"], 1, 3)
    with pytest.raises(ValueError, match="3 samples are too few to tune on"):
        list(tune(few, 4))
