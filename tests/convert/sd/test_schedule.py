"""Schedulers of diffusers: the same tables, and grids on exactly their timesteps."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from inkdrop.convert.sd.schedule import (
    SCHEDULERS,
    Schedule,
    Settings,
    Spacing,
    read_schedule,
    stable,
    write_schedule,
)
from inkdrop.diffusion.discrete import Discrete
from inkdrop.diffusion.parameterization import X0, Eps, V, Velocity
from inkdrop.diffusion.process import VP
from inkdrop.diffusion.samplers import SAMPLERS

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
# The files of Stable Diffusion 1.5, 2.1 and XL.
SD15 = {
    **STABLE, "_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", "clip_sample": False,
    "num_train_timesteps": 1000, "set_alpha_to_one": False, "skip_prk_steps": True,
    "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
SD21 = {
    **STABLE, "_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", "clip_sample": False,
    "num_train_timesteps": 1000, "prediction_type": "v_prediction", "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "trained_betas": None,
}  # fmt: skip
SDXL = {
    **STABLE, "_class_name": "EulerDiscreteScheduler", "_diffusers_version": "0.19.0.dev0",
    "clip_sample": False, "interpolation_type": "linear", "num_train_timesteps": 1000,
    "prediction_type": "epsilon", "sample_max_value": 1.0, "set_alpha_to_one": False,
    "skip_prk_steps": True, "steps_offset": 1, "timestep_spacing": "leading",
    "trained_betas": None, "use_karras_sigmas": False,
}  # fmt: skip
PLACED = [name for name, kind in SCHEDULERS.items() if kind.rule is not None]
NEEDS_MORE = "DPMSolverSDEScheduler"  # asks for a library that is not among the test's


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Its deprecation notes are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def public(data: dict[str, Any]) -> Any:
    cls = getattr(diffusers, data["_class_name"])
    known = inspect.signature(cls.__init__).parameters
    return cls(**{name: value for name, value in data.items() if name in known})


def timesteps(scheduler: Any, name: str, steps: int) -> Tensor:
    """The timesteps at which a step begins, each once, falling."""
    scheduler.set_timesteps(steps)
    found: Tensor = scheduler.timesteps.double()
    if name == "HeunDiscreteScheduler":
        return torch.cat([found[:1], found[1::2]])
    if name.startswith("KDPM2"):
        return found[0::2]
    return found.unique().flip(0)


@pytest.mark.parametrize("name", [name for name in SCHEDULERS if name != NEEDS_MORE])
@pytest.mark.parametrize("schedule", [None, "linear", "scaled_linear", "squaredcos_cap_v2"])
def test_the_table_is_theirs(name: str, schedule: str | None) -> None:
    data: dict[str, Any] = {"_class_name": name}
    if schedule is not None:
        data |= {"beta_schedule": schedule, "beta_start": 0.0007, "beta_end": 0.015}
    theirs = public(data).alphas_cumprod.double()
    alpha, _, _ = read_schedule(data, "here").process.table()
    torch.testing.assert_close(alpha[1:] ** 2, theirs, rtol=2e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["DDIMScheduler", "DDPMScheduler"])
def test_the_table_with_zero_terminal_snr(name: str) -> None:
    data = {**STABLE, "_class_name": name, "rescale_betas_zero_snr": True,
            "prediction_type": "v_prediction"}  # fmt: skip
    alpha, _, _ = read_schedule(data, "here").process.table()
    assert alpha[-1] == 0
    theirs = public(data).alphas_cumprod.double()
    torch.testing.assert_close(alpha[1:] ** 2, theirs, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("name", [name for name in PLACED if name != NEEDS_MORE])
@pytest.mark.parametrize("kind", [None, "leading", "trailing", "linspace"])
def test_grids_visit_exactly_their_timesteps(name: str, kind: str | None) -> None:
    for steps in (1, 2, 7, 20, 30, 50, *(() if name == "LCMScheduler" else (99,))):
        data = {**STABLE, "_class_name": name, "steps_offset": 1, "skip_prk_steps": True}
        if kind is not None:
            data["timestep_spacing"] = kind
        schedule = read_schedule(data, "here")
        assert isinstance(schedule.process, Discrete)
        found = schedule.times(steps) * 1000 - 1
        expected = timesteps(public(data), name, steps)
        torch.testing.assert_close(found[: len(expected)], expected, rtol=0, atol=1e-4)
        assert len(found) in (steps, steps + 1) and bool((found.diff() < 0).all())


def test_where_grids_end() -> None:
    def end(name: str, **more: Any) -> float:
        return read_schedule({"_class_name": name, **more}, "here").times(10)[-1].item() * 1000

    assert end("DDIMScheduler") == 0
    assert end("DDIMScheduler", steps_offset=1, set_alpha_to_one=False) == 1
    assert end("PNDMScheduler", steps_offset=1) == 1
    # What another scheduler left in the file is not read.
    assert end("EulerDiscreteScheduler", set_alpha_to_one=False) == 0
    assert end("EulerDiscreteScheduler", timestep_spacing="trailing", final_sigmas_type="sigma_min") == 1  # fmt: skip # noqa: E501
    assert end("DEISMultistepScheduler") == 1
    # The step from the first entry to itself is none.
    assert len(read_schedule({"_class_name": "PNDMScheduler"}, "here").times(10)) == 10


@pytest.mark.parametrize("name", list(SCHEDULERS))
def test_every_setting_of_theirs_is_known(name: str) -> None:
    signature = inspect.signature(getattr(diffusers, name).__init__).parameters
    known = set(Settings.__dataclass_fields__)
    assert set(signature) - {"self", "args", "kwargs"} <= known
    assert SCHEDULERS[name].sampler in SAMPLERS


@pytest.mark.parametrize(("data", "prediction"), [(SD15, Eps()), (SD21, V()), (SDXL, Eps())])
def test_the_files_of_stable_diffusion(data: dict[str, Any], prediction: object) -> None:
    schedule = read_schedule(data, "here")
    assert schedule.process == Discrete("scaled_linear")
    assert schedule.parameterization == prediction
    assert schedule.spacing.offset == 1 and schedule.spacing.kind == "leading"
    assert schedule.spacing.first == (data is not SDXL)


@pytest.mark.parametrize("prediction", ["eps", "v", "x0"])
@pytest.mark.parametrize("zero", [False, True])
def test_written_and_read_again(prediction: str, zero: bool) -> None:
    if zero and prediction == "eps":
        return
    schedule = stable(prediction, zero)
    data = write_schedule(schedule.process, schedule.parameterization)
    assert read_schedule(data, "here") == schedule
    again = timesteps(public(data), "DDIMScheduler", 20)
    assert torch.equal((schedule.times(20)[:20] * 1000).round() - 1, again)


def test_settings_that_are_known_to_be_wrong_can_be_told() -> None:
    schedule = read_schedule(SDXL, "here", prediction="v", zero_terminal_snr=True)
    assert schedule.parameterization == V() and schedule.process.zero_terminal_snr
    with pytest.raises(ValueError, match="ends in pure noise, where a network that predicts eps"):
        read_schedule(SDXL, "here", zero_terminal_snr=True)
    with pytest.raises(ValueError, match="no prediction 'vv'"):
        read_schedule(SDXL, "here", prediction="vv")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"_class_name": "FlowMatchEulerDiscreteScheduler"}, "not read here; known are: DDIM"),
        ({"_class_name": "os.system"}, "of class 'os.system', which is not read here"),
        ({"_class_name": ["DDIMScheduler"]}, "which is not read here"),
        ({"_class_name": None}, "of class None"),
        ({"beta_shedule": "linear"}, r"unknown key 'beta_shedule'\. Did you mean 'beta_schedule'"),
        ({"beta_schedule": "laplace"}, "'beta_schedule' is 'laplace'"),
        ({"prediction_type": "flow_prediction"}, "'prediction_type' is 'flow_prediction'"),
        ({"trained_betas": [0.1]}, "'trained_betas'"),
        ({"variance_type": "learned_range"}, "'variance_type' is 'learned_range'"),
        ({"use_flow_sigmas": True}, "'use_flow_sigmas' is True"),
        ({"num_train_timesteps": 1}, "steps is 1"),
        ({"num_train_timesteps": 10**12}, "0 to 100000 is sane"),
        ({"beta_start": 0.9}, "give a first and a larger last beta"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 0}, "timesteps has 1 to 100"),
        ({"_class_name": "LCMScheduler", "original_inference_steps": 500}, "has 1 to 100"),
        ({"_class_name": "LCMScheduler", "timestep_scaling": 1.0}, "timestep_scaling 1.0, with"),
    ],
)
def test_what_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        read_schedule({**SD15, **change}, "scheduler_config.json")


def test_what_has_no_place_in_their_format() -> None:
    with pytest.raises(ValueError, match="a VP process with a network that predicts Eps"):
        write_schedule(VP(), Eps())
    with pytest.raises(ValueError, match="a network that predicts Velocity"):
        write_schedule(Discrete("linear"), Velocity())


def test_grids_of_their_own_rules() -> None:
    karras = read_schedule({**SD15, "use_karras_sigmas": True}, "here")
    assert len(karras.times(10)) == 11
    with pytest.raises(ValueError, match="by a rule that is not read here"):
        read_schedule({"_class_name": "TCDScheduler"}, "here").times(4)
    with pytest.raises(ValueError, match="steps is 51, but this model knows 50 noise levels"):
        read_schedule({"_class_name": "LCMScheduler"}, "here").times(51)
    with pytest.raises(ValueError, match="this model's table has 1000 noise levels"):
        Schedule(Discrete("linear"), X0(), Spacing()).times(1001)


@pytest.mark.parametrize("kind", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("rule", ["ddim", "multistep", "sigmas"])
@pytest.mark.parametrize("offset", [0, 1, 7])
def test_no_grid_visits_a_time_twice(rule: Any, kind: Any, offset: int) -> None:
    table, spacing = Discrete("scaled_linear"), Spacing(rule, kind, offset)
    for steps in (1, 2, 333, 500, 999):
        times = spacing.times(table, steps)
        assert bool((times.diff() < 0).all()) and times[0] <= 1
    if rule == "multistep" and kind != "trailing":  # which makes room for one more
        with pytest.raises(ValueError, match="would visit a time twice; give fewer steps"):
            spacing.times(table, 1000)
    else:
        assert len(spacing.times(table, 1000).unique()) == 1001
