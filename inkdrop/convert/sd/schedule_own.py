"""How a scheduler of diffusers samples, where a sampler of this library computes the same.

Nothing here decides how a model was trained: a model whose scheduler has no equal is read, and
`--sampler own` is refused with the reason.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from inkdrop.config import short


class Equal(NamedTuple):
    """A sampler of ours, and the values of options with which a scheduler computes the same.

    options: by name; an option of the class that is not listed must have its default
    """

    sampler: str
    options: Mapping[str, tuple[Any, ...]] = {}


_PLAIN = {"thresholding": False}
_CLIPPED = {**_PLAIN, "clip_sample": True}
_SIGMAS = {"use_karras_sigmas": False, "use_exponential_sigmas": False, "use_beta_sigmas": False}
_ENDS = {"sigma_min": None, "sigma_max": None}
# The options that decide how a class samples, beside its timesteps, and their defaults.
DEFAULTS: dict[str, dict[str, Any]] = {
    "DDIMScheduler": _CLIPPED,
    "DDPMScheduler": {**_CLIPPED, "variance_type": "fixed_small"},
    "PNDMScheduler": {"skip_prk_steps": False},
    "LMSDiscreteScheduler": _SIGMAS,
    "EulerDiscreteScheduler": {**_SIGMAS, **_ENDS, "interpolation_type": "linear"},
    "EulerAncestralDiscreteScheduler": {},
    "HeunDiscreteScheduler": {**_SIGMAS, "clip_sample": False},
    "KDPM2DiscreteScheduler": _SIGMAS,
    "KDPM2AncestralDiscreteScheduler": _SIGMAS,
    "DPMSolverMultistepScheduler": {
        **_SIGMAS, **_PLAIN, "solver_order": 2, "algorithm_type": "dpmsolver++",
        "solver_type": "midpoint", "lower_order_final": True, "euler_at_final": False,
        "use_lu_lambdas": False, "lambda_min_clipped": -math.inf, "final_sigmas_type": "zero",
    },
    "UniPCMultistepScheduler": {
        **_SIGMAS, **_PLAIN, **_ENDS, "solver_order": 2, "predict_x0": True, "solver_type": "bh2",
        "lower_order_final": True, "disable_corrector": [], "solver_p": None,
        "shift_terminal": None,
        "final_sigmas_type": "zero",
    },
    "DEISMultistepScheduler": {
        **_SIGMAS, **_PLAIN, "solver_order": 2, "algorithm_type": "deis", "solver_type": "logrho",
        "lower_order_final": True,
    },
    "LCMScheduler": {**_PLAIN, "clip_sample": False},
}  # fmt: skip

# DDIM and PNDM step by T // N, which on linspace does not lead to where the next step begins. Nor
# does it on trailing where N does not divide T; here a step ends where the next begins.
_STEPPED = {"timestep_spacing": ("leading", "trailing")}
_UNCLIPPED = {"clip_sample": (False,)}
# Grids of these classes begin and end where linspace does.
_EVEN = {"timestep_spacing": ("linspace",)}
# Named for another solver, these values are taken for the class's own.
_BH2, _MIDPOINT = ("bh2", "midpoint", "heun", "logrho"), ("midpoint", "logrho", "bh1", "bh2")
_AT_DATA = {"lower_order_final": (True, False), "euler_at_final": (True, False)}
_AT_FIRST = {"final_sigmas_type": ("sigma_min",), "lower_order_final": (False,)}


def _on_sigmas(sampler: str) -> tuple[Equal, ...]:
    return (
        Equal(sampler),
        Equal(sampler, {"use_karras_sigmas": (True,), **_EVEN}),
        Equal(sampler, {"use_exponential_sigmas": (True,), **_EVEN}),
    )


def _multistep(sampler: str, **told: tuple[Any, ...]) -> tuple[Equal, ...]:
    told = {"solver_type": _MIDPOINT, **told}
    return (
        Equal(sampler, {**told, **_AT_DATA}),
        Equal(sampler, {**told, **_AT_FIRST}),
        Equal(sampler, {**told, **_AT_DATA, "use_karras_sigmas": (True,)}),
    )


EQUALS: dict[str, tuple[Equal, ...]] = {
    "DDIMScheduler": (Equal("ddim", {**_UNCLIPPED, **_STEPPED}),),
    "DDPMScheduler": (
        Equal("ddpm", {**_UNCLIPPED, "variance_type": ("fixed_small", "fixed_small_log")}),
        Equal("ddpm_beta", {**_UNCLIPPED, "variance_type": ("fixed_large",)}),
    ),
    "PNDMScheduler": (Equal("plms", {"skip_prk_steps": (True,), **_STEPPED}),),
    "LMSDiscreteScheduler": _on_sigmas("lms"),
    "EulerDiscreteScheduler": _on_sigmas("euler"),
    "EulerAncestralDiscreteScheduler": (Equal("euler_a"),),
    "HeunDiscreteScheduler": _on_sigmas("heun"),
    "KDPM2DiscreteScheduler": _on_sigmas("dpm2"),
    "KDPM2AncestralDiscreteScheduler": _on_sigmas("dpm2_a"),
    "DPMSolverMultistepScheduler": (
        *_multistep("dpmpp_2m"),
        *_multistep("dpmpp_2m_sde", algorithm_type=("sde-dpmsolver++",)),
        *_multistep("ddim", solver_order=(1,)),
    ),
    "UniPCMultistepScheduler": tuple(
        Equal(sampler, {"solver_order": (order,), "solver_type": _BH2, **grid})
        for order, sampler in ((2, "unipc"), (3, "unipc_3"))
        for grid in ({}, {"use_karras_sigmas": (True,)})
    ),
    "DEISMultistepScheduler": (
        Equal("deis", {"solver_order": (3,), "lower_order_final": (False,)}),
        Equal("ddim", {"solver_order": (1,), "lower_order_final": (True, False)}),
    ),
    "LCMScheduler": (Equal("consistency"),),
}


def equal(cls: str, told: Mapping[str, Any]) -> tuple[str | None, str]:
    """The sampler that computes what a scheduler does, or None and why there is none.

    told: its settings; a missing one, or None, has the default of the class
    """
    defaults, known = DEFAULTS.get(cls), EQUALS.get(cls, ())
    if defaults is None:
        return None, "its method is not among the samplers"
    values = {name: told.get(name) for name in (*defaults, "timestep_spacing")}
    found = {n: defaults.get(n) if value is None else value for n, value in values.items()}
    wrong = [_differences(each, found, defaults) for each in known]
    for each, names in zip(known, wrong, strict=True):
        if not names:
            return each.sampler, ""
    name = min(wrong, key=len)[0]
    return None, f"its {name} is {short(found[name])}"


def _differences(each: Equal, found: Mapping[str, Any], defaults: Mapping[str, Any]) -> list[str]:
    """The options whose values are not those of an equal."""
    allowed = {name: (value,) for name, value in defaults.items()} | dict(each.options)
    return [name for name, values in allowed.items() if found[name] not in values]
