"""diffusers' schedulers for each kind of process, with the options to try for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

SPACINGS = ("linspace", "leading", "trailing")
KINDS = ("karras", "exponential", "beta")
# APART is for schedulers whose own sigmas ignore the spacing, BOTH for those where they combine.
APART = (*SPACINGS, *KINDS)
BOTH = tuple(f"{spacing} {kind}".strip() for spacing in SPACINGS for kind in ("", *KINDS))
FINAL = ("zero", "sigma_min")
ORDERS = {"solver_order": (2, 3)}
MULTISTEP = ORDERS | {"solver_type": ("midpoint", "heun")}
UNIPC = ORDERS | {"solver_type": ("bh1", "bh2"), "predict_x0": (True, False)}
SHIFTS = (0.5, 1.0, 2.0, 3.0, 5.0)

Choices = Mapping[str, Sequence[Any]]
TABLE_ODE: Sequence[tuple[str, Choices]] = (
    ("DDIMScheduler", {"grid": SPACINGS, "set_alpha_to_one": (True, False)}),
    ("DDIMScheduler", {"grid": ("leading",), "steps_offset": (1,)}),
    (
        "PNDMScheduler",
        {"grid": SPACINGS, "skip_prk_steps": (True, False), "set_alpha_to_one": (True, False)},
    ),
    ("LMSDiscreteScheduler", {"grid": BOTH}),
    (
        "EulerDiscreteScheduler",
        {"grid": BOTH, "final_sigmas_type": FINAL, "interpolation_type": ("linear", "log_linear")},
    ),
    ("HeunDiscreteScheduler", {"grid": BOTH}),
    ("KDPM2DiscreteScheduler", {"grid": BOTH}),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            **MULTISTEP,
            "final_sigmas_type": FINAL,
            "euler_at_final": (False, True),
        },
    ),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            **MULTISTEP,
            "algorithm_type": ("dpmsolver",),
            "final_sigmas_type": ("sigma_min",),
        },
    ),
    (
        "DPMSolverMultistepScheduler",
        {"grid": SPACINGS, **MULTISTEP, "lambda_min_clipped": (-5.1,), "final_sigmas_type": FINAL},
    ),
    (
        "DPMSolverSinglestepScheduler",
        {"grid": ("linspace", *KINDS), **MULTISTEP, "final_sigmas_type": FINAL},
    ),
    (
        "DPMSolverSinglestepScheduler",
        {
            "grid": ("linspace", *KINDS),
            **MULTISTEP,
            "algorithm_type": ("dpmsolver",),
            "final_sigmas_type": ("sigma_min",),
        },
    ),
    ("DEISMultistepScheduler", {"grid": APART, **ORDERS}),
    ("UniPCMultistepScheduler", {"grid": APART, **UNIPC, "final_sigmas_type": FINAL}),
    (
        "SASolverScheduler",
        {"grid": APART, "predictor_order": (2, 3), "corrector_order": (2, 3), "tau": (0,)},
    ),
)
TABLE_SDE: Sequence[tuple[str, Choices]] = (
    ("DDPMScheduler", {"grid": SPACINGS, "variance_type": ("fixed_small", "fixed_large")}),
    ("DDIMScheduler", {"grid": SPACINGS, "eta": (1.0,)}),
    ("EulerAncestralDiscreteScheduler", {"grid": SPACINGS}),
    ("KDPM2AncestralDiscreteScheduler", {"grid": BOTH}),
    ("DPMSolverSDEScheduler", {"grid": BOTH}),
    (
        "DPMSolverMultistepScheduler",
        {
            "grid": (*APART, "lu"),
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
            "euler_at_final": (False, True),
        },
    ),
    ("SASolverScheduler", {"grid": APART, "predictor_order": (2, 3), "corrector_order": (2, 3)}),
)
EDM_GRIDS = {"sigma_schedule": ("karras", "exponential"), "final_sigmas_type": FINAL}
EDM_ODE: Sequence[tuple[str, Choices]] = (
    ("EDMEulerScheduler", {**EDM_GRIDS, "rho": (7.0, 5.0, 3.0)}),
    (
        "EDMDPMSolverMultistepScheduler",
        {**EDM_GRIDS, "rho": (7.0, 5.0, 3.0), **MULTISTEP, "euler_at_final": (False, True)},
    ),
)
EDM_SDE: Sequence[tuple[str, Choices]] = (
    (
        "EDMDPMSolverMultistepScheduler",
        {
            "sigma_schedule": ("karras", "exponential"),
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
        },
    ),
    (
        "CosineDPMSolverMultistepScheduler",
        {
            "sigma_min": (0.002,),
            "sigma_max": (80.0,),
            "sigma_schedule": ("karras", "exponential"),
            "solver_type": ("midpoint", "heun"),
        },
    ),
)
SHIFTED = {"flow_shift": SHIFTS, "use_flow_sigmas": (True,)}
FLOW_ODE: Sequence[tuple[str, Choices]] = (
    ("FlowMatchEulerDiscreteScheduler", {"grid": ("", *KINDS), "shift": SHIFTS}),
    ("FlowMatchEulerDiscreteScheduler", {"even": (True,), "shift": SHIFTS}),
    ("FlowMatchHeunDiscreteScheduler", {"shift": SHIFTS}),
    ("DPMSolverMultistepScheduler", {**SHIFTED, **MULTISTEP, "euler_at_final": (False, True)}),
    ("DPMSolverSinglestepScheduler", {**SHIFTED, **MULTISTEP}),
    ("DEISMultistepScheduler", {**SHIFTED, **ORDERS}),
    ("UniPCMultistepScheduler", {**SHIFTED, **UNIPC, "even": (False, True)}),
    (
        "UniPCMultistepScheduler",
        {"grid": KINDS, "use_flow_sigmas": (True,), **UNIPC},
    ),
    (
        "SASolverScheduler",
        {**SHIFTED, "predictor_order": (2, 3), "corrector_order": (2, 3), "tau": (0,)},
    ),
)
FLOW_SDE: Sequence[tuple[str, Choices]] = (
    ("FlowMatchEulerDiscreteScheduler", {"shift": SHIFTS, "stochastic_sampling": (True,)}),
    ("LTXEulerAncestralRFScheduler", {"even": (True,)}),
    (
        "DPMSolverMultistepScheduler",
        {
            **SHIFTED,
            "algorithm_type": ("sde-dpmsolver++",),
            "solver_type": ("midpoint", "heun"),
        },
    ),
    ("SASolverScheduler", {**SHIFTED, "predictor_order": (2, 3), "corrector_order": (2, 3)}),
)
