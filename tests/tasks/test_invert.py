"""Inversion: against the exact flow, and there and back again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from exact import LINE, PROCESSES, gaussian
from models import random_model
from torch import Tensor

from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.edict import edict, undo_edict
from inkdrop.diffusion.samplers.step import Step
from inkdrop.diffusion.times import grid
from inkdrop.model import Model
from inkdrop.tasks.invert import invert, reconstruct, rise
from inkdrop.tasks.sampling import Sampling

FINITE = {name: p for name, p in PROCESSES.items() if p.t_start == p.t_max}
EACH = pytest.mark.parametrize("process", FINITE.values(), ids=FINITE.keys())


def slope(counts: list[int], errors: list[float]) -> float:
    x, y = torch.tensor(counts).double().log(), torch.tensor(errors).double().log()
    return -float(((x - x.mean()) * (y - y.mean())).sum() / (x - x.mean()).square().sum())


def between(process: Process, steps: int) -> Tensor:
    """A grid between two moderate levels of noise, then 0."""
    level = torch.linspace(-4, 4, steps + 1, dtype=torch.float64)
    return torch.cat([process.time_at(level), torch.zeros(1, dtype=torch.float64)])


@EACH
def test_the_way_up_follows_the_exact_flow_with_order_one(process: Process) -> None:
    errors, counts = [], [40, 80, 160]
    for steps in counts:
        on = between(process, steps)
        x = gaussian(50, 1, seed=2) * 0.6
        for step in rise(process, LINE.denoiser(process), x, on):
            up = step.x
        exact = LINE.flow(process, (x * process.alpha(on[-2]))[:, 0], on[-2], on[0])
        errors.append(float((up[:, 0] - exact).abs().mean()))
    assert 0.8 < slope(counts, errors) < 1.3


@EACH
def test_edict_is_undone_to_rounding_in_both_directions(process: Process) -> None:
    on, denoise = grid(process, "logsnr", 50), LINE.denoiser(process)
    x = LINE.sample(20, seed=4)
    *_, noise = undo_edict(process, denoise, x, on)
    *_, back = edict(process, denoise, noise.x, on, y=noise.y)
    assert (back.x - x).abs().max() < 1e-9
    start = process.sigma(on[:1]) * gaussian(20, 1, seed=5)
    *_, end = edict(process, denoise, start, on)
    *_, again = undo_edict(process, denoise, end.x, on, y=end.y)
    assert (again.x - start).abs().max() < 1e-9 * float(process.sigma(on[:1]))


@pytest.mark.parametrize("name", ["vp", "ve"])
def test_edict_converges_to_the_flow_with_order_one(name: str) -> None:
    process, counts, errors = PROCESSES[name], [100, 200, 400], []
    for steps in counts:
        on = between(process, steps)
        x = (
            gaussian(50, 1, seed=2)
            * (process.alpha(on[0]) ** 2 * 0.8 + process.sigma(on[0]) ** 2).sqrt()
        )
        *_, end = edict(process, LINE.denoiser(process), x, on[:-1])
        exact = LINE.flow(process, x[:, 0], on[0], on[-2])
        errors.append(float((end.x[:, 0] - exact).abs().mean()))
    assert 0.7 < slope(counts, errors) < 1.5


def test_where_alpha_is_0_no_step_can_be_undone() -> None:
    process = PROCESSES["flow"]
    with pytest.raises(ValueError, match="begins at t = 1, where alpha is 0"):
        list(edict(process, LINE.denoiser(process), gaussian(2, 1), grid(process, "uniform", 4)))


@pytest.fixture
def model(tmp_path: Path) -> Model:
    model = random_model(tmp_path)
    model.network.double()
    return model


def ends(model: Model, x: Tensor, sampling: Sampling, exact: bool) -> tuple[Step, Tensor]:
    *_, noise = invert(model, x, conditions=[0, 1], sampling=sampling, exact=exact)
    *_, back = reconstruct(model, noise, conditions=[0, 1], sampling=sampling)
    return noise, back.x


def test_a_model_is_inverted_exactly_guidance_and_all_and_ddim_nearly(model: Model) -> None:
    x = torch.tanh(gaussian(2, *model.spec.shape, seed=1))
    # clip is part of the denoiser, so it is inside both ways alike
    strong = Sampling(steps=20, grid="logsnr", guidance=3.0)
    noise, back = ends(model, x, strong, exact=True)
    assert (back - x).abs().max() < 1e-7
    assert noise.t == 1
    errors = [
        float((ends(model, x, Sampling(steps=n, grid="logsnr", guidance=1.0), False)[1] - x)
              .square().mean().sqrt())
        for n in (50, 200)
    ]  # fmt: skip
    assert errors[1] < 0.6 * errors[0]


def test_bad_data_are_refused(model: Model) -> None:
    with pytest.raises(ValueError, match=r"are \(1, 4, 4\), but the model makes"):
        next(invert(model, torch.zeros(1, 1, 4, 4)))
    with pytest.raises(ValueError, match="one for each, not a list of 1 for 2"):
        next(invert(model, torch.zeros(2, *model.spec.shape), conditions=[0]))
