"""Whole samplings with guidance: the last latents of diffusers' schedulers on the same noise."""

from __future__ import annotations

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import checkpoints
import diffusers
import pytest
import torch
from checkpoints import difference, edit, save, scheduler
from torch import Tensor

from inkdrop.cond import Cond
from inkdrop.convert.sd.model import to_model
from inkdrop.convert.sd.read import read
from inkdrop.convert.sd.schedule import read_schedule
from inkdrop.diffusion.guidance import cfg
from inkdrop.diffusion.samplers import sampler

STEPS, GUIDANCE, BATCH = 20, 7.5, 2
SIZE = (9, 6)  # not a multiple of anything


class Case:
    """diffusers' U-Net and the model that was read from it."""

    def __init__(self, prediction: str, folder: Path) -> None:
        self.unet = checkpoints.unet("sd15")
        save(folder, "sd15", unet=self.unet, vae=checkpoints.vae())
        edit(folder / "scheduler" / "scheduler_config.json", prediction_type=prediction)
        self.scheduler = {**scheduler("sd15"), "prediction_type": prediction}
        self.model, _ = to_model(read(folder))
        torch.manual_seed(3)
        width = self.unet.config.cross_attention_dim
        self.tokens, self.empty = torch.randn(2, BATCH, 12, width).unbind()
        self.noise = torch.randn(BATCH, 4, *SIZE)


@pytest.fixture(scope="module", params=["epsilon", "v_prediction"])
def case(request: Any, tmp_path_factory: Any) -> Case:
    return Case(request.param, tmp_path_factory.mktemp("case"))


def theirs(case: Case, public: Any) -> Tensor:
    """The loop of a diffusers pipeline."""
    public.set_timesteps(STEPS)
    x = case.noise * public.init_noise_sigma
    both = torch.cat([case.empty, case.tokens])
    for t in public.timesteps:
        seen = public.scale_model_input(torch.cat([x, x]), t)
        empty, cond = case.unet(seen, t, both).sample.chunk(2)
        x = public.step(empty + GUIDANCE * (cond - empty), t, x).prev_sample
    return x


def ours(case: Case, name: str, times: Tensor) -> Tensor:
    model = case.model
    denoise = cfg(model.denoise, Cond(tokens=case.tokens), Cond(tokens=case.empty), scale=GUIDANCE)
    with torch.no_grad():
        steps = list(sampler(name)(model.process, denoise, case.noise, times))
    return steps[-1].x


@pytest.mark.parametrize(
    ("cls", "name", "more"),
    [
        ("DDIMScheduler", "ddim", {}),
        ("DDIMScheduler", "ddim", {"set_alpha_to_one": True, "timestep_spacing": "trailing"}),
        ("DPMSolverMultistepScheduler", "dpmpp_2m", {"timestep_spacing": "leading"}),
        ("DPMSolverMultistepScheduler", "dpmpp_2m", {"timestep_spacing": "linspace"}),
    ],
)
def test_the_last_latents(case: Case, cls: str, name: str, more: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        public = getattr(diffusers, cls).from_config({**case.scheduler, **more})
        expected = theirs(case, public)
    schedule = read_schedule({**dict(public.config), "_class_name": cls}, "here")
    assert schedule.process == case.model.process and schedule.sampler == name
    found = ours(case, name, schedule.times(STEPS))
    assert 0.1 < expected.std() < 100  # a run that died or exploded would prove nothing
    assert difference(found, expected) < 1e-3


def test_zero_terminal_snr(tmp_path: Path) -> None:
    case = Case("v_prediction", tmp_path)
    told = {**case.scheduler, "rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}
    public = diffusers.DDIMScheduler.from_config(told)
    schedule = read_schedule({**told, "_class_name": "DDIMScheduler"}, "here")
    expected = theirs(case, public)
    case.model = dataclasses.replace(case.model, process=schedule.process)
    assert difference(ours(case, "ddim", schedule.times(STEPS)), expected) < 1e-3
