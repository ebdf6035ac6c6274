"""Samplers and grids as other programs name them: A1111, ComfyUI, InvokeAI, diffusers and others.

Capitals, spaces, dashes and underscores do not matter, and "++" is "pp". A name may say both, as
"DPM++ 2M Karras" does. A class of diffusers may carry its options: "DPMSolverMultistepScheduler
(use_karras_sigmas=True, algorithm_type='sde-dpmsolver++')".
"""

from __future__ import annotations

import ast
import re
from typing import NamedTuple


class Called(NamedTuple):
    """What a name stands for; None where it says nothing of it."""

    sampler: str | None
    grid: str | None = None


# The names of samplers elsewhere, beside their own names here.
ALIASES: dict[str, str] = {
    "euler_ancestral": "euler_a",
    "dpm_2": "dpm2",
    "dpm_2_ancestral": "dpm2_a",
    "dpm_2_a": "dpm2_a",
    "kdpm_2": "dpm2",
    "kdpm_2_a": "dpm2_a",
    "dpmpp_2s_ancestral": "dpmpp_2s_a",
    "dpmpp_2m_sde_gpu": "dpmpp_2m_sde",
    "dpmpp_3m_sde_gpu": "dpmpp_3m_sde",
    "dpmpp_sde_gpu": "dpmpp_sde",
    "dpmpp_2m_sde_bt": "dpmpp_2m_sde",  # stable-diffusion.cpp's
    "dpmpp_2": "dpmpp_2m",  # InvokeAI's, up to version 2
    "dpmpp_2_a": "dpmpp_2s_a",
    "dpm_sde": "dpmpp_sde",  # SD.Next's
    "lmsd": "lms",
    "pndm": "plms",
    "ipndm": "plms",
    "uni_pc": "unipc_3",
    "uni_pc_bh2": "unipc",
    "dpm_adaptive": "adaptive",
    "lcm": "consistency",
}
GRID_ALIASES: dict[str, str] = {
    "exponential": "logsnr",
    "polyexponential": "logsnr",
    "sgm_uniform": "uniform",
    "normal": "linspace",
    "simple": "trailing",
    "ddim_uniform": "leading",
    "flow_shift": "shift",
}
# What other programs have and this library does not, with the nearest that it has.
ABSENT = {
    "dpm_fast": "dpmpp_2m", "heunpp2": "heun", "ipndm_v": "deis", "dpmpp_2m_sde_heun":
    "dpmpp_2m_sde", "tcd": "consistency", "er_sde": "sa_solver", "res_multistep": "dpmpp_2m",
    "gradient_estimation": "deis", "seeds_2": "dpmpp_sde", "seeds_3": "dpmpp_sde",
    "dpm_2m": "dpmpp_2m", "dpmpp_2mv2": "dpmpp_2m", "sa_solver_pece": "sa_solver",
    "dc_solver": "unipc", "dpmpp_cosine": "dpmpp_2m_sde",
}  # fmt: skip
ABSENT_GRIDS = {
    "kl_optimal": "share", "align_your_steps": "share", "turbo": "trailing",
    "linear_quadratic": "shift",
}  # fmt: skip
# Ends of a sampler's name that are a grid.
ENDINGS = {
    "karras": "karras", "exponential": "logsnr", "sgmuniform": "uniform", "simple": "trailing",
    "beta": "beta", "normal": "linspace", "trailing": "trailing",
}  # fmt: skip
USUAL = ("automatic", "auto", "default")  # no choice

# Classes of diffusers, without "Scheduler".
CLASSES: dict[str, str] = {
    "DDIM": "ddim",
    "DDPM": "ddpm",
    "PNDM": "plms",
    "IPNDM": "plms",
    "LMSDiscrete": "lms",
    "EulerDiscrete": "euler",
    "EulerAncestralDiscrete": "euler_a",
    "HeunDiscrete": "heun",
    "KDPM2Discrete": "dpm2",
    "KDPM2AncestralDiscrete": "dpm2_a",
    "DPMSolverSDE": "dpmpp_sde",
    "DPMSolverMultistep": "dpmpp_2m",
    "DPMSolverSinglestep": "dpmpp_2s",
    "UniPCMultistep": "unipc",
    "DEISMultistep": "deis",
    "SASolver": "sa_solver",
    "LCM": "consistency",
    "FlowMatchEulerDiscrete": "euler",
    "FlowMatchHeunDiscrete": "heun",
}
# Options of those classes that choose a grid, and the values that choose another sampler.
GRID_OPTIONS = {
    "use_karras_sigmas": "karras",
    "use_exponential_sigmas": "logsnr",
    "use_beta_sigmas": "beta",
}
ORDERS = {
    ("dpmpp_2m", 1): "ddim",
    ("dpmpp_2m", 2): "dpmpp_2m",
    ("dpmpp_2m", 3): "dpmpp_3m",
    ("dpmpp_2m_sde", 2): "dpmpp_2m_sde",
    ("dpmpp_2m_sde", 3): "dpmpp_3m_sde",
    ("dpmpp_2s", 2): "dpmpp_2s",
    ("unipc", 2): "unipc",
    ("unipc", 3): "unipc_3",
    ("deis", 3): "deis",
}

_CLASS = re.compile(r"(\w+)Scheduler(?:\.from_config)?\s*(\(.*\))?", re.DOTALL)


def plain(name: str) -> str:
    """A name without capitals, spaces, dashes and underscores."""
    return re.sub(r"[\s_-]+", "", name.lower().replace("++", "pp"))


def _table(*names: dict[str, str]) -> dict[str, str]:
    return {plain(other): ours for table in names for other, ours in table.items()}


_SAMPLERS, _GRIDS = _table(ALIASES), _table(GRID_ALIASES)
_ABSENT, _ABSENT_GRIDS = _table(ABSENT), _table(ABSENT_GRIDS)


def sampler_called(name: str, known: tuple[str, ...]) -> Called:
    """The sampler and the grid that a name says; a name that nobody uses stays as it is.

    known: the names of all samplers here. ValueError for a sampler that other programs have and
    this library does not, or options of a class that are not understood.
    """
    exact = ALIASES.get(name.lower(), name)  # before "uni_pc" and "unipc" become the same
    if exact in known:
        return Called(exact)
    written = _CLASS.fullmatch(name.strip())
    if written is not None and written[1] in CLASSES:
        return _class_called(CLASSES[written[1]], name, written[2] or "()")
    found = _SAMPLERS | {plain(each): each for each in known}
    for short in _forms(plain(name)):
        if short in USUAL:
            return Called(None)
        if short in found:
            return Called(found[short])
        _check_present("sampler", name, short, _ABSENT)
        for ending, grid in ENDINGS.items():
            if short.endswith(ending) and short.removesuffix(ending) in found:
                return Called(found[short.removesuffix(ending)], grid)
        if short.endswith("k") and short.removesuffix("k") in found:  # as InvokeAI says Karras
            return Called(found[short.removesuffix("k")], "karras")
        if short.endswith("cfgpp") and short.removesuffix("cfgpp") in found:
            ours = found[short.removesuffix("cfgpp")]
            raise ValueError(
                f"the sampler {name!r} is a sampler with a rule of guidance; say"
                f" --sampler {ours} --rule cfg++"
            )
    return Called(name)


def _forms(short: str) -> list[str]:
    """A plain name, and the name without the k of k-diffusion before it."""
    return [short, short[1:]] if short.startswith("k") else [short]


def grid_called(name: str) -> str | None:
    """A grid's name here, with its number if it has one; None for the default.

    A name that nobody uses stays as it is. ValueError for a grid that other programs have and this
    library does not.
    """
    kind, colon, number = name.partition(":")
    short = plain(kind)
    if short in USUAL:
        return None
    _check_present("grid", name, short, _ABSENT_GRIDS)
    return f"{_GRIDS.get(short, kind.strip().lower())}{colon}{number}"


def _check_present(kind: str, name: str, short: str, absent: dict[str, str]) -> None:
    for end in ("", *ENDINGS):
        if short.removesuffix(end) in absent:
            raise ValueError(
                f"the {kind} {name!r} of other programs is not available here; the nearest is"
                f" {absent[short.removesuffix(end)]}"
            )


def _class_called(sampler: str, name: str, written: str) -> Called:
    """The sampler of a class of diffusers with options, such as "(use_karras_sigmas=True)"."""
    try:
        call = ast.parse(f"f{written}", mode="eval").body
        assert isinstance(call, ast.Call)
        options = {each.arg: ast.literal_eval(each.value) for each in call.keywords}
    except (SyntaxError, ValueError, AssertionError, RecursionError, MemoryError):
        raise ValueError(
            f"the options of the sampler {name[:80]!r} cannot be read; write them as in Python,"
            " such as DPMSolverMultistepScheduler(use_karras_sigmas=True)"
        ) from None
    grid: str | None = None
    for option, value in options.items():
        if option in GRID_OPTIONS:
            grid = GRID_OPTIONS[option] if value else grid
        elif option == "timestep_spacing" and value in ("leading", "trailing", "linspace"):
            grid = grid or value
        elif option == "algorithm_type" and value == "sde-dpmsolver++" and sampler == "dpmpp_2m":
            sampler = "dpmpp_2m_sde"
        elif (option, value) not in (
            ("algorithm_type", "dpmsolver++"),
            ("solver_type", "midpoint"),
        ) and option != "solver_order":
            raise ValueError(
                f"the option {option}={value!r} of the sampler {name[:80]!r} is not understood;"
                f" leave it out, or use --sampler {sampler} with --grid"
            )
    order = options.get("solver_order")
    if order is not None:
        if (sampler, order) not in ORDERS:
            raise ValueError(f"the sampler {sampler} of {name[:80]!r} has no order {order!r}")
        sampler = ORDERS[sampler, order]
    return Called(sampler, grid)
