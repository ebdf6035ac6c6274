"""The sampler "own": the last state of diffusers' schedulers on the same noise, or a refusal."""

from __future__ import annotations

import inspect
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from tiny_network import TinyNetwork
from torch import Tensor

from inkdrop.convert.sd.schedule import SCHEDULERS, read_schedule
from inkdrop.convert.sd.schedule_own import DEFAULTS, EQUALS
from inkdrop.convert.sd.schedule_settings import Settings
from inkdrop.diffusion.samplers import sampler

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    diffusers = pytest.importorskip("diffusers")

SHAPE = (2, 3, 8, 8)
TABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
         "num_train_timesteps": 1000}  # fmt: skip
# With what a scheduler is followed at all, where its defaults are not.
BASES: dict[str, dict[str, Any]] = {
    "DDIMScheduler": {"clip_sample": False},
    "DDPMScheduler": {"clip_sample": False},
    "PNDMScheduler": {"skip_prk_steps": True},
    "DEISMultistepScheduler": {"solver_order": 3, "lower_order_final": False},
}
NEEDS_MORE = "DPMSolverSDEScheduler"  # asks for a library that is not among the test's

# Other values of every argument that does not belong to the table; () has no effect by itself.
VALUES: dict[str, tuple[Any, ...]] = {
    "algorithm_type": ("dpmsolver++", "sde-dpmsolver++", "dpmsolver", "deis", "noise_prediction"),
    "clip_sample": (True, False),
    "clip_sample_range": (2.0,),
    "corrector_order": (1, 3),
    "disable_corrector": ([0, 1],),
    "dynamic_thresholding_ratio": (0.9,),
    "euler_at_final": (True,),
    "final_sigmas_type": ("sigma_min", "zero"),
    "flow_shift": (3.0,),
    "interpolation_type": ("log_linear",),
    "lambda_min_clipped": (-5.1,),
    "lower_order_final": (True, False),
    "noise_sampler_seed": (1,),
    "original_inference_steps": (40,),
    "predict_x0": (False,),
    "predictor_order": (1, 3),
    "sample_max_value": (2.0,),
    "set_alpha_to_one": (True, False),
    "shift_terminal": (0.1,),
    "sigma_max": (5.0,),
    "sigma_min": (0.1,),
    "skip_prk_steps": (True, False),
    "solver_order": (1, 2, 3),
    "solver_p": (),
    "solver_type": ("bh1", "bh2", "midpoint", "heun", "logrho"),
    "steps_offset": (1,),
    "tau_func": (),
    "thresholding": (True,),
    "time_shift_type": ("linear",),
    "timestep_scaling": (20.0,),
    "timestep_spacing": ("leading", "trailing", "linspace"),
    "timestep_type": ("continuous",),
    "use_beta_sigmas": (True,),
    "use_dynamic_shifting": (True,),
    "use_exponential_sigmas": (True,),
    "use_flow_sigmas": (True,),
    "use_karras_sigmas": (True,),
    "use_lu_lambdas": (True,),
    "variance_type": ("fixed_small", "fixed_small_log", "fixed_large", "learned"),
}  # fmt: skip
OF_THE_TABLE = {*TABLE, "trained_betas", "prediction_type", "rescale_betas_zero_snr"}
# On trailing, theirs goes elsewhere where the number of steps does not divide that of the table.
STEPS = {"LCMScheduler": (4, 8, 17), "DDIMScheduler": (2, 8, 20), "PNDMScheduler": (2, 8, 20)}
KARRAS, EXPONENTIAL = {"use_karras_sigmas": True}, {"use_exponential_sigmas": True}
TOGETHER: dict[str, tuple[dict[str, Any], ...]] = {
    "EulerDiscreteScheduler": (
        {**KARRAS, "timestep_spacing": "leading"}, {**KARRAS, "sigma_min": 0.1},
        {"final_sigmas_type": "sigma_min", "timestep_spacing": "leading"},
    ),
    "DPMSolverMultistepScheduler": (
        {"algorithm_type": "sde-dpmsolver++", **KARRAS},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False},
        {"final_sigmas_type": "sigma_min", "lower_order_final": False, **KARRAS},
        {"solver_order": 1, **KARRAS}, {"timestep_spacing": "leading", **KARRAS},
        {"solver_order": 1, "algorithm_type": "sde-dpmsolver++"},
    ),
    "UniPCMultistepScheduler": ({"solver_order": 3, **KARRAS}, {"solver_order": 3, **EXPONENTIAL}),
    "DEISMultistepScheduler": ({"solver_order": 1, "lower_order_final": True}, {**KARRAS}),
    "PNDMScheduler": ({"set_alpha_to_one": True, "steps_offset": 1},),
    "DDIMScheduler": ({"set_alpha_to_one": False, "steps_offset": 1},),
}  # fmt: skip


NETWORK = TinyNetwork()


class Stream:
    """Noise in the order in which it is asked for, by either library."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(5)

    def __call__(self, *key: Any, **more: Any) -> Tensor:
        return torch.randn(SHAPE, generator=self.generator, dtype=torch.float64)


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    """Its deprecation notes are its own affair."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def theirs(data: dict[str, Any], start: Tensor, steps: int, patch: pytest.MonkeyPatch) -> Tensor:
    cls = getattr(diffusers, data["_class_name"])
    known = inspect.signature(cls.__init__).parameters
    public = cls(**{name: value for name, value in data.items() if name in known})
    module = sys.modules[cls.__module__]
    if hasattr(module, "randn_tensor"):
        patch.setattr(module, "randn_tensor", Stream())
    public.set_timesteps(steps)
    # Some have x / alpha as their state.
    scaled = (
        "scale_model_input" in vars(cls) and hasattr(public, "sigmas") and "Multi" not in str(cls)
    )
    x = start * (1 + float(public.sigmas.max()) ** 2) ** 0.5 if scaled else start
    for index in public.timesteps:
        seen = public.scale_model_input(x, index)
        eps = NETWORK(seen, torch.as_tensor(index).double().expand(len(x)))
        x = public.step(eps, index, x).prev_sample
    return x


def ours(data: dict[str, Any], start: Tensor, steps: int) -> Tensor | None:
    """None if it is not followed."""
    try:
        schedule = read_schedule(data, "here")
    except ValueError:
        return None
    assert schedule.own is not None
    if schedule.own.sampler is None:
        assert schedule.own.missing
        return None
    process, how = schedule.process, schedule.parameterization

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        seen, feature = how.inputs(process, x, t)
        return how.x0(process, NETWORK(seen, feature), x, t)

    times = schedule.own.spacing.times(process, steps)
    run = sampler(schedule.own.sampler)
    return list(run(process, denoise, start, times, noise=Stream()))[-1].x


def cases() -> list[Any]:
    found = []
    for cls in SCHEDULERS:
        names = [n for n in arguments(cls) if n not in OF_THE_TABLE] if cls != NEEDS_MORE else []
        each = [{name: value} for name in names for value in VALUES.get(name, ())]
        for change in ({}, *each, *TOGETHER.get(cls, ())):
            named = ",".join(f"{name}={value}" for name, value in change.items())
            found.append(pytest.param(cls, change, id=f"{cls}-{named}"))
    return found


def arguments(cls: str) -> list[str]:
    found = inspect.signature(getattr(diffusers, cls).__init__).parameters
    return [name for name in found if name not in ("self", "args", "kwargs")]


@pytest.mark.parametrize("cls", SCHEDULERS)
def test_no_argument_is_forgotten(cls: str) -> None:
    assert {*arguments(cls)} <= {*VALUES, *OF_THE_TABLE}
    for name, default in DEFAULTS.get(cls, {}).items():
        found = inspect.signature(getattr(diffusers, cls).__init__).parameters[name].default
        assert found == default


@pytest.mark.parametrize(("cls", "change"), cases())
def test_followed_or_refused(
    cls: str, change: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = {**TABLE, "_class_name": cls, **BASES.get(cls, {}), **change}
    start = torch.randn(SHAPE, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for steps in STEPS.get(cls, (2, 7, 20)):
        found = ours(data, start, steps)
        if found is None:
            assert change or cls not in EQUALS
            return
        wanted = theirs(data, start, steps, monkeypatch)
        # Beside whole entries they round the time that the network is given, or interpolate it.
        between = "use_karras_sigmas" in change or cls == "KDPM2AncestralDiscreteScheduler"
        close = 5e-3 if between else 1e-3
        assert (found - wanted).abs().max() < close * wanted.abs().max()
        assert 0.05 < wanted.std() < 20  # a run that exploded or died would prove nothing


@pytest.mark.parametrize(
    ("cls", "change", "said"),
    [
        ("DDIMScheduler", {"clip_sample": None}, "its clip_sample is True"),
        ("EulerDiscreteScheduler", {"use_beta_sigmas": True}, "its use_beta_sigmas is True"),
        ("UniPCMultistepScheduler", {"thresholding": {"a": 1}}, "its thresholding is {'a': 1}"),
        ("SASolverScheduler", {}, "its method is not among the samplers"),
        ("DPMSolverMultistepScheduler", {"use_lu_lambdas": True}, "its use_lu_lambdas is True"),
    ],
)
def test_the_reason(cls: str, change: dict[str, Any], said: str) -> None:
    own = read_schedule({"_class_name": cls, **change}, "here").own
    assert own is not None and own.sampler is None and own.missing == said


def test_what_a_class_does_not_read_has_no_effect() -> None:
    data = {"_class_name": "EulerAncestralDiscreteScheduler", "use_karras_sigmas": False,
            "clip_sample": True, "thresholding": True, "solver_order": 9}  # fmt: skip
    own = read_schedule(data, "here").own
    assert own is not None and own.sampler == "euler_a"


def test_every_option_is_a_key() -> None:
    known = set(Settings.__dataclass_fields__)
    assert all(set(options) <= known for options in DEFAULTS.values())
