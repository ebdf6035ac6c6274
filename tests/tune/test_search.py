"""Tuning on exact mixtures: nearer to the true flow than every grid by name, on unseen noises."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from exact import LINE, PROCESSES, THREE, Mixture, f64, gaussian
from torch import Tensor

from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers import sampler
from inkdrop.diffusion.samplers.fitted import fitted
from inkdrop.diffusion.samplers.step import legs
from inkdrop.diffusion.times import grid
from inkdrop.tune.fit import judge, kept
from inkdrop.tune.problem import Counted, Problem, calls_to_solve, solve
from inkdrop.tune.search import SAMPLERS, STARTS, tune
from inkdrop.tune.weights import fit_weights

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


@pytest.mark.parametrize(
    ("samplers", "share"), [(("dpmpp_2m", "unipc"), 0.9), (("fitted",), 0.6)], ids=["grid", "all"]
)
@pytest.mark.parametrize("name", ["linear", "cosine", "ve", "flow"])
def test_what_is_tuned_is_nearer_on_noises_it_did_not_see(
    name: str, samplers: tuple[str, ...], share: float
) -> None:
    process = PROCESSES[name]
    seen, unseen = posed(process, 1), posed(process, 2, 256)
    trials = list(tune(seen, 6, samplers=samplers))
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
    assert judge(unseen, kept(seen, last)) < share * min(named)


def test_its_error_is_that_of_its_run() -> None:
    problem = posed(PROCESSES["flow"], 3, 16)
    for name in ("ddim", "fitted"):
        for trial in tune(problem, 3, samplers=(name,)):
            assert trial.error == pytest.approx(judge(problem, kept(problem, trial)), rel=1e-9)


def test_time_that_is_over_still_gives_one_trial() -> None:
    trials = list(tune(posed(PROCESSES["cosine"], 1, 8), 4, seconds=0.0))
    assert len(trials) == 1
    assert (trials[0].sampler, trials[0].found) == (SAMPLERS[0], STARTS[0])


@pytest.mark.parametrize("process", FINITE.values(), ids=FINITE.keys())
def test_states_between_the_known_ones_are_on_the_flow(process: Process) -> None:
    start = torch.tensor(process.t_max, dtype=torch.float64)
    x = noises(process, 20, 1, seed=1)
    problem = solve(process, LINE.denoiser(process), x)
    for level in (-5.5, -2.03, 0.0, 1.7, 4.4):
        t = process.time_at(torch.tensor(level, dtype=torch.float64))
        exact = LINE.flow(process, x[:, 0], start, t)
        torch.testing.assert_close(problem.state_at(t)[:, 0], exact, rtol=0, atol=0.01)


@pytest.mark.parametrize("process", FINITE.values(), ids=FINITE.keys())
def test_for_gaussian_data_fitted_weights_are_exact_at_three_steps(process: Process) -> None:
    # The denoiser is affine in x, so every state of the flow is a combination of x and x_0.
    gauss = Mixture(means=f64(0.0)[:, None], stds=f64(0.5), weights=f64(1.0))
    seen, unseen = (
        solve(process, gauss.denoiser(process), noises(process, 50, 1, seed)) for seed in (1, 2)
    )
    times = grid(process, "logsnr", 3)
    weights, end = fit_weights(seen, times, predictions=1)
    fit = unseen.error(unseen.run(fitted(weights), times))
    assert seen.error(end) < 1e-4 and fit < 1e-4
    assert unseen.error(unseen.run(sampler("dpmpp_3m"), times)) > 100 * fit


def test_weights_of_ddim_are_ddim_and_wrong_ones_are_refused() -> None:
    process = PROCESSES["flow"]
    times, x = grid(process, "uniform", 4), noises(process, 5, 1, 1)
    rows = [row[:2] for row in legs(process, tuple(times[:-1].tolist()), tuple(times[1:].tolist()))]
    denoise = LINE.denoiser(process)
    ours, ddim = (list(run(process, denoise, x, times)) for run in (fitted(rows), sampler("ddim")))
    for a, b in zip(ours, ddim, strict=True):
        torch.testing.assert_close(a.x, b.x, rtol=1e-12, atol=1e-12)
    with pytest.raises(ValueError, match="4 rows of weights do not fit a grid of 3 steps"):
        list(fitted(rows)(process, denoise, x, times[1:]))
    with pytest.raises(ValueError, match=r"eta is 0.5: fitted is deterministic"):
        list(fitted(rows)(process, denoise, x, times, eta=0.5))


def test_nothing_to_tune_is_refused() -> None:
    problem = posed(PROCESSES["cosine"], 1, 8)
    with pytest.raises(ValueError, match="one step leaves no time to tune"):
        list(tune(problem, 1))
    few = posed(PROCESSES["cosine"], 1, 3)
    with pytest.raises(ValueError, match="3 samples are too few to tune on"):
        list(tune(few, 4))
