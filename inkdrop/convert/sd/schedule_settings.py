"""The classes of diffusers' schedulers and the keys of their scheduler_config.json."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

from inkdrop.diffusion.spacing import Rule, TimestepSpacing


@dataclass(frozen=True)
class Scheduler:
    """The defaults of a class of scheduler, where its settings are silent.

    sampler: the equivalent sampler of this library
    end: where its grids end: at data, at the table's first entry, or as a setting decides
    to_data: the default of set_alpha_to_one; betas, ends: those of the table
    """

    sampler: str
    rule: Rule
    kind: TimestepSpacing
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
    """The keys of scheduler_config.json: how a model was trained, and how a solver is set up.

    None: the default of the class.
    """

    num_train_timesteps: int = 1000
    beta_start: float | None = None
    beta_end: float | None = None
    beta_schedule: Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"] | None = None
    prediction_type: Literal["epsilon", "v_prediction", "sample"] = "epsilon"
    rescale_betas_zero_snr: bool = False
    timestep_spacing: TimestepSpacing | None = None
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

    # How the class samples, which `schedule_own` follows or refuses where it is asked for.
    clip_sample: Any = None
    thresholding: Any = None
    algorithm_type: Any = None
    solver_order: Any = None
    solver_type: Any = None
    solver_p: Any = None
    predict_x0: Any = None
    disable_corrector: Any = None
    lower_order_final: Any = None
    euler_at_final: Any = None
    lambda_min_clipped: Any = None
    interpolation_type: Any = None
    skip_prk_steps: Any = None
    use_lu_lambdas: Any = None
    sigma_min: Any = None
    sigma_max: Any = None
    shift_terminal: Any = None

    # Without an effect: ranges of clipping and shifts of flows, which are off, and options of
    # classes that are not followed.
    clip_sample_range: Any = None
    dynamic_thresholding_ratio: Any = None
    sample_max_value: Any = None
    corrector_order: Any = None
    predictor_order: Any = None
    tau_func: Any = None
    noise_sampler_seed: Any = None
    flow_shift: Any = None
    time_shift_type: Any = None
