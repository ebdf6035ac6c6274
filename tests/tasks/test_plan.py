"""What a sampling comes to: defaults in their order, where a run starts, and what it may draw."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from models import random_model

from inkdrop.diffusion.noise import SeededNoise
from inkdrop.diffusion.samplers import ABOUT, SAMPLERS
from inkdrop.diffusion.times import grid
from inkdrop.model import Model, Tuned
from inkdrop.tasks.generate import generate
from inkdrop.tasks.guided import denoiser
from inkdrop.tasks.plan import chosen, draws, start, times, ungraded, walk
from inkdrop.tasks.sampling import Sampling


@pytest.fixture
def model(tmp_path: Path) -> Model:
    return random_model(tmp_path)


def with_spec(model: Model, **spec: Any) -> Model:
    return dataclasses.replace(model, spec=dataclasses.replace(model.spec, **spec))


def test_what_is_asked_for_counts_before_the_models_own(model: Model) -> None:
    own = with_spec(model, sampler="plms", grid="karras", steps=7)
    plan = chosen(own)
    assert plan.sampler == "plms" and torch.equal(plan.times, grid(own.process, "karras", 7))
    plan = chosen(own, Sampling(sampler="ddim", steps=4))
    assert plan.sampler == "ddim" and torch.equal(plan.times, grid(own.process, "karras", 4))
    plan = chosen(own, Sampling(grid="logsnr"))
    assert plan.sampler == "plms" and torch.equal(plan.times, grid(own.process, "logsnr", 7))


def test_a_tuned_grid_counts_before_the_models_own(model: Model) -> None:
    tuned = Tuned(7, "unipc", (1.0, 0.9, 0.7, 0.5, 0.4, 0.2, 0.1, 0.0))
    own = with_spec(model, sampler="plms", grid="karras", steps=7, tuned=(tuned,))
    assert chosen(own).sampler == "unipc" and times(own).tolist() == list(tuned.times)
    assert chosen(own, Sampling(steps=6)).sampler == "plms"


@pytest.mark.parametrize("steps", [1, 2, 9])
@pytest.mark.parametrize("spacing", ["uniform", "logsnr", "karras", "karras:3"])
def test_a_grid_falls_to_data(model: Model, spacing: str, steps: int) -> None:
    on = times(model, Sampling(sampler="ddim", grid=spacing, steps=steps))
    assert on.dtype == torch.float64 and len(on) == steps + 1 and on[-1] == 0
    assert bool((on.diff() < 0).all())


def test_which_runs_draw_fresh_noise(model: Model) -> None:
    for name in SAMPLERS:
        asked = Sampling(sampler=name, steps=8)
        if name != "ddpm_learned":
            assert draws(model, asked) == ABOUT[name].fresh
    assert draws(model, Sampling(sampler="ddim", eta=0.5))
    assert not draws(model, Sampling(sampler="ddim", eta=0.0))


@pytest.mark.parametrize("name", ["ddim", "ddpm", "dpmpp_2m", "dpmpp_2m_sde"])
def test_a_run_that_draws_nothing_follows_from_its_start(model: Model, name: str) -> None:
    """Two samples that start alike end alike exactly where no fresh noise is drawn."""
    asked = Sampling(sampler=name, steps=4, guidance=1.0)
    on = times(model, asked)
    noise = SeededNoise(0, (0, 1), model.shape, model.process, model.device)
    x = start(model, noise, on)[:1].repeat(2, 1, 1, 1)
    denoise = denoiser(model, [0, 0], 2, asked)
    with torch.no_grad():
        *_, last = walk(model, denoise, noise, x, on, asked)
    assert torch.allclose(last.x[0], last.x[1], atol=1e-5) != draws(model, asked)


def test_a_run_starts_at_the_spread_of_its_first_time(model: Model) -> None:
    noise = SeededNoise(0, tuple(range(64)), model.shape, model.process, model.device)
    for t in (1.0, 0.5):
        on = torch.tensor([t, 0.0], dtype=torch.float64)
        x = start(model, noise, on)
        assert x.shape == (64, *model.shape)
        sigma = float(model.process.sigma(on[:1]))
        assert abs(float(x.std()) - sigma) < 0.05 * sigma


@pytest.mark.parametrize("steps", [0, -1, 1001])
def test_steps_that_the_process_has_not(model: Model, steps: int) -> None:
    with pytest.raises(ValueError, match=f"steps is {steps}"):
        chosen(model, Sampling(steps=steps))


def test_names_that_are_none(model: Model) -> None:
    with pytest.raises(ValueError, match=r"'heunn'.*Did you mean 'heun'"):
        chosen(model, Sampling(sampler="heunn"))
    with pytest.raises(ValueError, match=r"'karas'.*Did you mean 'karras'"):
        chosen(model, Sampling(grid="karas"))


def test_steps_carry_no_gradient_whoever_asks_for_them(model: Model) -> None:
    model.network.requires_grad_(True)
    with torch.enable_grad():
        for step in generate(model, conditions=[0], sampling=Sampling(steps=2)):
            assert not step.x.requires_grad and not step.x0.requires_grad
            assert torch.is_grad_enabled()
    weight = torch.ones(1, requires_grad=True)
    with torch.enable_grad():
        assert not any(each.requires_grad for each in ungraded(weight * 2 for _ in range(2)))  # type: ignore


def test_names_of_other_programs_choose_sampler_and_grid(model: Model) -> None:
    for name, sampler, spacing in (
        ("DPM++ 2M Karras", "dpmpp_2m", "karras"),
        ("DDIM", "ddim", "share"),
        ("DPMSolverMultistepScheduler(timestep_spacing='trailing')", "dpmpp_2m", "trailing"),
    ):
        plan = chosen(model, Sampling(steps=4, sampler=name))
        assert plan.sampler == sampler
        assert torch.equal(plan.times, grid(model.process, spacing, 4))
    # A grid given by itself counts more, and "Automatic" is no choice.
    plan = chosen(model, Sampling(steps=4, sampler="DPM++ 2M Karras", grid="Beta"))
    assert torch.equal(plan.times, grid(model.process, "beta", 4))
    usual = chosen(model, Sampling(steps=4))
    plan = chosen(model, Sampling(steps=4, sampler="Automatic", grid="Automatic"))
    assert (plan.sampler, plan.times.tolist()) == (usual.sampler, usual.times.tolist())
