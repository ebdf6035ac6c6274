"""A scheduler of diffusers as a process, a parameterization and a grid, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from inkdrop.config import choose
from inkdrop.convert.files.settings import check_sane, class_of, named_errors, parsed
from inkdrop.convert.sd.schedule_own import equal
from inkdrop.convert.sd.schedule_settings import SCHEDULERS, Scheduler, Settings
from inkdrop.diffusion.discrete import ENDS, Discrete
from inkdrop.diffusion.parameterization import X0, Eps, Parameterization, V
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.spacing import Spacing, TimestepSpacing
from inkdrop.model.spec import Own

PREDICTIONS: dict[str, Parameterization] = {"epsilon": Eps(), "v_prediction": V(), "sample": X0()}
BETAS = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid",
}


@dataclass(frozen=True)
class Schedule:
    """What a denoiser was trained with, and how its own library samples it by default.

    sampler: the sampler of this library that is nearest to its own
    own: its scheduler as `--sampler own` follows it; None: the checkpoint has none
    """

    process: Discrete
    parameterization: Parameterization
    spacing: Spacing = field(default_factory=Spacing)
    sampler: str | None = None
    own: Own | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.process.zero_terminal_snr and isinstance(self.parameterization, Eps):
            raise ValueError(
                "the schedule ends in pure noise, where a network that predicts eps reveals nothing"
                " about the data; give prediction 'v', or zero_terminal_snr false, if its settings"
                " are wrong"
            )

    def times(self, steps: int) -> Tensor:
        """The grid on exactly the scheduler's timesteps: float64 [steps + 1], falling."""
        return self.spacing.times(self.process, steps)


def read_schedule(
    data: Mapping[str, Any],
    where: str,
    *,
    prediction: str | None = None,
    zero_terminal_snr: bool | None = None,
) -> Schedule:
    """The schedule in a scheduler_config.json.

    prediction (eps, v or x0), zero_terminal_snr: override the file where it is known to be wrong
    """
    name = class_of(data, SCHEDULERS, where)
    scheduler = SCHEDULERS[name]
    settings = parsed(Settings, data, where)
    check_sane(settings, ("num_train_timesteps", "steps_offset"), 100_000, where)
    if scheduler.rule == "lcm":
        _check_student(settings, where)
    zero = settings.rescale_betas_zero_snr if zero_terminal_snr is None else zero_terminal_snr
    parameterization = PREDICTIONS[settings.prediction_type]
    if prediction is not None:
        parameterization = predicting(prediction)
    with named_errors(where):
        process = replace(_process(scheduler, settings), zero_terminal_snr=zero)
        spacing = _spacing(scheduler, settings)
        sampler, missing = equal(name, vars(settings) | {"timestep_spacing": spacing.kind})
        own = Own(name, sampler, spacing, missing)
        return Schedule(process, parameterization, spacing, scheduler.sampler, own)


def predicting(name: str) -> Parameterization:
    """The parameterization called eps, v or x0."""
    return choose("prediction", name, {"eps": Eps(), "v": V(), "x0": X0()})


def stable(prediction: str, zero_terminal_snr: bool = False) -> Schedule:
    """The schedule of Stable Diffusion's files without settings."""
    process = Discrete("scaled_linear", 1000, zero_terminal_snr)
    kind: TimestepSpacing = "trailing" if zero_terminal_snr else "leading"
    spacing = Spacing("ddim", kind, 0 if zero_terminal_snr else 1, first=not zero_terminal_snr)
    return Schedule(process, predicting(prediction), spacing, "ddim")


def write_schedule(
    process: Process, parameterization: Parameterization, original: int | None = None
) -> dict[str, Any]:
    """A scheduler_config.json: DDIM, set up as for Stable Diffusion.

    original: for a latent consistency model, the number of timesteps it was trained on
    ValueError for a process or a parameterization that this format cannot express.
    """
    names = [name for name, known in PREDICTIONS.items() if known == parameterization]
    if not isinstance(process, Discrete) or not names:
        raise ValueError(
            f"a {type(process).__name__} process with a network that predicts"
            f" {type(parameterization).__name__} cannot be written in this format; it takes a"
            " discrete table with eps, v or x0"
        )
    usual = ENDS[process.schedule]
    first, last = process.ends or usual or (1e-4, 0.02)
    zero = process.zero_terminal_snr
    student = {"_class_name": "LCMScheduler", "original_inference_steps": original}
    return {
        **({"_class_name": "DDIMScheduler"} if original is None else student),
        "num_train_timesteps": process.steps,
        "beta_start": first,
        "beta_end": last,
        "beta_schedule": {ours: theirs for theirs, ours in BETAS.items()}[process.schedule],
        "prediction_type": names[0],
        "rescale_betas_zero_snr": zero,
        "timestep_spacing": "trailing" if zero else "leading",
        "steps_offset": 0 if zero else 1,
        "set_alpha_to_one": zero,
        "clip_sample": False,
    }


def _process(scheduler: Scheduler, settings: Settings) -> Discrete:
    schedule = BETAS[settings.beta_schedule or scheduler.betas]
    ends = (
        scheduler.ends[0] if settings.beta_start is None else settings.beta_start,
        scheduler.ends[1] if settings.beta_end is None else settings.beta_end,
    )
    usual = ENDS[schedule]
    return Discrete(
        schedule, settings.num_train_timesteps, ends=None if usual in (None, ends) else ends
    )


def _check_student(settings: Settings, where: str) -> None:
    """ValueError for a latent consistency model with unusual settings.

    Its output is c_skip x + c_out x_0 (Luo et al. 2023, eq. 9), where c_skip is at most 3e-5 at the
    timesteps that it was trained on, so it is taken for x_0 itself.
    """
    most = settings.num_train_timesteps // 10
    if not 1 <= settings.original_inference_steps <= most:
        raise ValueError(
            f"{where} has original_inference_steps {settings.original_inference_steps}: a student"
            f" of {settings.num_train_timesteps} timesteps has 1 to {most}"
        )
    if settings.timestep_scaling < 10:
        raise ValueError(
            f"{where} has timestep_scaling {settings.timestep_scaling}, with which a latent"
            " consistency model does not predict the data alone; 10, the usual value, and above are"
            " read"
        )


def _spacing(scheduler: Scheduler, settings: Settings) -> Spacing:
    named = {
        "karras": settings.use_karras_sigmas,
        "logsnr": settings.use_exponential_sigmas,
        "beta": settings.use_beta_sigmas,
    }
    return Spacing(
        scheduler.rule,
        settings.timestep_spacing or scheduler.kind,
        settings.steps_offset,
        _ends_first(scheduler, settings),
        next((name for name, used in named.items() if used), None),
        settings.original_inference_steps,
    )


def _ends_first(scheduler: Scheduler, settings: Settings) -> bool:
    """True if grids end at the table's first entry, by the setting that the class reads, if any."""
    if scheduler.end == "set_alpha_to_one":
        return not (
            scheduler.to_data if settings.set_alpha_to_one is None else settings.set_alpha_to_one
        )
    if scheduler.end == "final_sigmas_type":
        return settings.final_sigmas_type == "sigma_min"
    return scheduler.end == "first"
