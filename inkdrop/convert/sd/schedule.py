"""A scheduler of diffusers as what it is made of: a process, a parameterization and a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor

from inkdrop.config import choose
from inkdrop.convert.files.settings import check_sane, class_of, parsed, said_by
from inkdrop.diffusion.parameterization import X0, Eps, Parameterization, V
from inkdrop.diffusion.process import ENDS, Discrete, Process
from inkdrop.diffusion.times import grid

PREDICTIONS: dict[str, Parameterization] = {"epsilon": Eps(), "v_prediction": V(), "sample": X0()}
BETAS = {
    "linear": "linear",
    "scaled_linear": "scaled_linear",
    "squaredcos_cap_v2": "cosine",
    "sigmoid": "sigmoid",
}

# How a family of schedulers places N steps on a table; None: by a rule of its own, not read here.
Rule = Literal["ddim", "multistep", "sigmas", "lcm"] | None


@dataclass(frozen=True)
class Spacing:
    """Where a scheduler of diffusers stands on its table of T entries.

    rule: "ddim" and "sigmas" count T // N a step, "multistep" T // (N + 1); on linspace "ddim" and
        "multistep" go to whole entries, the latter to all but the last of N + 1. "lcm" takes N of
        the `original` ones that its student was trained on, and nothing else here matters to it
    kind: leading (from the data up), trailing (from the noise down) or linspace
    offset: steps_offset, which moves a leading grid towards noise
    first: ends at the table's first entry instead of at data (set_alpha_to_one false)
    named: the grid here that stands for its own, such as karras
    """

    rule: Rule = "ddim"
    kind: Literal["leading", "trailing", "linspace"] = "leading"
    offset: int = 0
    first: bool = False
    named: str | None = None
    original: int = 50

    def times(self, process: Discrete, steps: int) -> Tensor:
        """The grid on exactly its timesteps: float64 [steps + 1], falling."""
        process.check_steps(steps)
        if self.named is not None:
            return grid(process, self.named, steps)
        if self.rule is None:
            raise ValueError(
                "this model's scheduler places its steps by a rule that is not read here; choose a"
                " grid"
            )
        entries = self._timesteps(process.steps, steps).clamp(max=process.steps - 1) + 1
        if self.first and entries[-1] == 1:
            return entries / process.steps  # its last step, from the first entry to itself, is none
        end = torch.tensor([1.0 if self.first else 0.0], dtype=torch.float64)
        return torch.cat([entries, end]) / process.steps

    def _timesteps(self, table: int, steps: int) -> Tensor:
        """Their timesteps, falling, of 0 to table - 1: float64 [steps]."""
        if self.rule == "lcm":
            return _of_trained(table, self.original, steps)
        more = steps + 1 if self.rule == "multistep" else steps
        down = torch.arange(steps - 1, -1, -1, dtype=torch.float64)
        if self.kind == "trailing":
            return (table - torch.arange(steps, dtype=torch.float64) * (table / steps)).round() - 1
        if self.kind == "leading":
            return (down + more - steps) * (table // more) + self.offset
        # As numpy's linspace has them: where half an entry is rounded, the last bit decides.
        even = (down + more - steps) * ((table - 1) / max(more - 1, 1))
        return even if self.rule == "sigmas" else even.round()


def _of_trained(table: int, original: int, steps: int) -> Tensor:
    """Timesteps [steps] of a student that was trained on `original` of them. Luo et al. 2023."""
    if not 1 <= steps <= original:
        raise ValueError(
            f"steps is {steps}, but this model knows {original} noise levels; give 1 to {original}"
            " steps"
        )
    down = torch.arange(original, 0, -1, dtype=torch.float64) * (table // original) - 1
    return down[(torch.arange(steps, dtype=torch.float64) * (original / steps)).long()]


@dataclass(frozen=True)
class Schedule:
    """What a denoiser was trained with, and how the library it comes from samples by default.

    sampler: the one here that its scheduler is
    """

    process: Discrete
    parameterization: Parameterization
    spacing: Spacing = Spacing()
    sampler: str | None = None

    def __post_init__(self) -> None:
        if self.process.zero_terminal_snr and isinstance(self.parameterization, Eps):
            raise ValueError(
                "the schedule ends in pure noise, where a network that predicts eps says nothing of"
                " the data; give prediction 'v' or zero_terminal_snr false if its settings are"
                " wrong"
            )

    def times(self, steps: int) -> Tensor:
        """The grid on exactly the timesteps of its scheduler: float64 [steps + 1]."""
        return self.spacing.times(self.process, steps)


@dataclass(frozen=True)
class Scheduler:
    """What a class of scheduler says by itself, where its settings say nothing.

    end: where its grids end: at data, at the table's first entry, or where a setting says
    """

    sampler: str
    rule: Rule
    kind: Literal["leading", "trailing", "linspace"]
    end: Literal["data", "first", "set_alpha_to_one", "final_sigmas_type"] = "data"
    to_data: bool = True
    betas: str = "linear"
    ends: tuple[float, float] = (1e-4, 0.02)


_STABLE = (0.00085, 0.012)
_STUDENT = Scheduler("consistency", "lcm", "leading", betas="scaled_linear", ends=_STABLE)
SCHEDULERS = {
    "DDIMScheduler": Scheduler("ddim", "ddim", "leading", "set_alpha_to_one"),
    "DDPMScheduler": Scheduler("ddpm", "ddim", "leading"),
    "PNDMScheduler": Scheduler("plms", "ddim", "leading", "set_alpha_to_one", to_data=False),
    "LMSDiscreteScheduler": Scheduler("lms", "sigmas", "linspace"),
    "EulerDiscreteScheduler": Scheduler("euler", "sigmas", "linspace", "final_sigmas_type"),
    "EulerAncestralDiscreteScheduler": Scheduler("euler_a", "sigmas", "linspace"),
    "HeunDiscreteScheduler": Scheduler("heun", "sigmas", "linspace", ends=_STABLE),
    "KDPM2DiscreteScheduler": Scheduler("dpm2", "sigmas", "linspace", ends=_STABLE),
    "KDPM2AncestralDiscreteScheduler": Scheduler("dpm2_a", "sigmas", "linspace", ends=_STABLE),
    "DPMSolverSDEScheduler": Scheduler("dpmpp_sde", "sigmas", "linspace", ends=_STABLE),
    "DPMSolverMultistepScheduler": Scheduler(
        "dpmpp_2m", "multistep", "linspace", "final_sigmas_type"
    ),
    "DPMSolverSinglestepScheduler": Scheduler("dpmpp_2s", None, "linspace"),
    "UniPCMultistepScheduler": Scheduler("unipc", "multistep", "linspace", "final_sigmas_type"),
    "DEISMultistepScheduler": Scheduler("deis", "multistep", "linspace", "first"),
    "SASolverScheduler": Scheduler("sa_solver", "multistep", "linspace", "first"),
    "LCMScheduler": _STUDENT,
    "TCDScheduler": replace(_STUDENT, rule=None),
}


@dataclass(frozen=True)
class Settings:
    """scheduler_config.json: how a model was trained, what must be so, and what is a solver's.

    None: what the class says by itself.
    """

    num_train_timesteps: int = 1000
    beta_start: float | None = None
    beta_end: float | None = None
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] | None = None
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    rescale_betas_zero_snr: bool = False
    timestep_spacing: Literal["leading", "trailing", "linspace"] | None = None
    steps_offset: int = 0
    set_alpha_to_one: bool | None = None
    final_sigmas_type: Literal["zero", "sigma_min"] | None = None
    use_karras_sigmas: bool | None = False
    use_exponential_sigmas: bool | None = False
    use_beta_sigmas: bool | None = False

    original_inference_steps: int = 50
    timestep_scaling: float = 10.0

    trained_betas: None = None
    timestep_type: Literal["discrete"] = "discrete"
    use_flow_sigmas: Literal[False] = False
    use_dynamic_shifting: Literal[False] = False
    variance_type: Literal["fixed_small", "fixed_small_log", "fixed_large"] | None = None

    # Pixels alone are clipped, and codes are not; the rest chooses a solver, and any may be used.
    clip_sample: Any = None
    clip_sample_range: Any = None
    thresholding: Any = None
    dynamic_thresholding_ratio: Any = None
    sample_max_value: Any = None
    algorithm_type: Any = None
    solver_order: Any = None
    solver_type: Any = None
    solver_p: Any = None
    predict_x0: Any = None
    disable_corrector: Any = None
    corrector_order: Any = None
    predictor_order: Any = None
    tau_func: Any = None
    lower_order_final: Any = None
    euler_at_final: Any = None
    lambda_min_clipped: Any = None
    interpolation_type: Any = None
    skip_prk_steps: Any = None
    noise_sampler_seed: Any = None
    use_lu_lambdas: Any = None
    sigma_min: Any = None
    sigma_max: Any = None
    flow_shift: Any = None
    shift_terminal: Any = None
    time_shift_type: Any = None


def read_schedule(
    data: Mapping[str, Any],
    where: str,
    *,
    prediction: str | None = None,
    zero_terminal_snr: bool | None = None,
) -> Schedule:
    """The schedule that a scheduler_config.json describes.

    prediction (eps, v or x0) and zero_terminal_snr: what is true where the file is known to be
    wrong
    """
    kind = SCHEDULERS[class_of(data, SCHEDULERS, where)]
    told = parsed(Settings, data, where)
    check_sane(told, ("num_train_timesteps", "steps_offset"), 100_000, where)
    if kind.rule == "lcm":
        _check_student(told, where)
    zero = told.rescale_betas_zero_snr if zero_terminal_snr is None else zero_terminal_snr
    parameterization = PREDICTIONS[told.prediction_type]
    if prediction is not None:
        parameterization = predicting(prediction)
    with said_by(where):
        process = replace(_process(kind, told), zero_terminal_snr=zero)
        return Schedule(process, parameterization, _spacing(kind, told), kind.sampler)


def predicting(name: str) -> Parameterization:
    """The parameterization called eps, v or x0."""
    return choose("prediction", name, {"eps": Eps(), "v": V(), "x0": X0()})


def stable(prediction: str, zero_terminal_snr: bool = False) -> Schedule:
    """What Stable Diffusion's files mean where they hold no settings."""
    process = Discrete("scaled_linear", 1000, zero_terminal_snr)
    kind: Literal["leading", "trailing"] = "trailing" if zero_terminal_snr else "leading"
    spacing = Spacing("ddim", kind, 0 if zero_terminal_snr else 1, first=not zero_terminal_snr)
    return Schedule(process, predicting(prediction), spacing, "ddim")


def write_schedule(
    process: Process, parameterization: Parameterization, original: int | None = None
) -> dict[str, Any]:
    """A scheduler_config.json for them: DDIM, as it samples Stable Diffusion.

    original: of a latent consistency model, how many timesteps it was trained on
    """
    names = [name for name, known in PREDICTIONS.items() if known == parameterization]
    if not isinstance(process, Discrete) or not names:
        raise ValueError(
            f"a {type(process).__name__} process of which a network predicts"
            f" {type(parameterization).__name__} has no place in this format; it takes a discrete"
            " table with eps, v or x0"
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


def _process(kind: Scheduler, told: Settings) -> Discrete:
    schedule = BETAS[told.beta_schedule or kind.betas]
    ends = (
        kind.ends[0] if told.beta_start is None else told.beta_start,
        kind.ends[1] if told.beta_end is None else told.beta_end,
    )
    usual = ENDS[schedule]
    return Discrete(
        schedule, told.num_train_timesteps, ends=None if usual in (None, ends) else ends
    )


def _check_student(told: Settings, where: str) -> None:
    """ValueError for a latent consistency model that is none of the usual ones.

    What it says is c_skip x + c_out x_0 (Luo et al. 2023, eq. 9), of which c_skip is 3e-5 at most
    at the timesteps that it was trained on, so it is taken for x_0 itself.
    """
    most = told.num_train_timesteps // 10
    if not 1 <= told.original_inference_steps <= most:
        raise ValueError(
            f"{where} has original_inference_steps {told.original_inference_steps}: a student of"
            f" {told.num_train_timesteps} timesteps has 1 to {most}"
        )
    if told.timestep_scaling < 10:
        raise ValueError(
            f"{where} has timestep_scaling {told.timestep_scaling}, with which a latent consistency"
            " model does not say the data alone; read here is 10, the usual one, and above"
        )


def _spacing(kind: Scheduler, told: Settings) -> Spacing:
    named = {
        "karras": told.use_karras_sigmas,
        "logsnr": told.use_exponential_sigmas,
        "beta": told.use_beta_sigmas,
    }
    return Spacing(
        kind.rule,
        told.timestep_spacing or kind.kind,
        told.steps_offset,
        _ends_first(kind, told),
        next((name for name, used in named.items() if used), None),
        told.original_inference_steps,
    )


def _ends_first(kind: Scheduler, told: Settings) -> bool:
    """True if grids end at the table's first entry; a class reads one of two settings or none."""
    if kind.end == "set_alpha_to_one":
        return not (kind.to_data if told.set_alpha_to_one is None else told.set_alpha_to_one)
    if kind.end == "final_sigmas_type":
        return told.final_sigmas_type == "sigma_min"
    return kind.end == "first"
