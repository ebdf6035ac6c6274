"""Samplers: short generators over a denoiser and a grid, listed here by name."""

from __future__ import annotations

from dataclasses import dataclass

from inkdrop.config import choose
from inkdrop.diffusion.names import ALIASES, Called, sampler_called
from inkdrop.diffusion.process import Process
from inkdrop.diffusion.samplers.adaptive import adaptive
from inkdrop.diffusion.samplers.consistency import consistency
from inkdrop.diffusion.samplers.corrected import sa_solver, unipc, unipc_3
from inkdrop.diffusion.samplers.ddim import ddim, euler, euler_a
from inkdrop.diffusion.samplers.ddpm import ddpm, ddpm_beta, ddpm_learned
from inkdrop.diffusion.samplers.dpm2 import dpm2, dpm2_a
from inkdrop.diffusion.samplers.dpmpp_2m import dpmpp_2m, dpmpp_2m_sde
from inkdrop.diffusion.samplers.dpmpp_2s import dpmpp_2s, dpmpp_2s_a, dpmpp_sde
from inkdrop.diffusion.samplers.dpmpp_3m import dpmpp_3m, dpmpp_3m_sde
from inkdrop.diffusion.samplers.edm import edm
from inkdrop.diffusion.samplers.heun import heun
from inkdrop.diffusion.samplers.langevin import langevin
from inkdrop.diffusion.samplers.linear import deis, lms
from inkdrop.diffusion.samplers.plms import plms
from inkdrop.diffusion.samplers.restart import restart
from inkdrop.diffusion.samplers.step import Sampler, Step

__all__ = [
    "ABOUT",
    "ALIASES",
    "SAMPLERS",
    "About",
    "Sampler",
    "Step",
    "adaptive",
    "best",
    "canonical",
    "consistency",
    "ddim",
    "ddpm",
    "ddpm_beta",
    "ddpm_learned",
    "deis",
    "dpm2",
    "dpm2_a",
    "dpmpp_2m",
    "dpmpp_2m_sde",
    "dpmpp_2s",
    "dpmpp_2s_a",
    "dpmpp_3m",
    "dpmpp_3m_sde",
    "dpmpp_sde",
    "edm",
    "euler",
    "euler_a",
    "heun",
    "langevin",
    "lms",
    "plms",
    "restart",
    "sa_solver",
    "sampler",
    "understood",
    "unipc",
    "unipc_3",
]


@dataclass(frozen=True)
class About:
    """Facts about a sampler.

    order: of convergence, 0 where it does not apply
    calls: network calls per step
    fresh: whether it draws noise during sampling
    when: when to use it, for the table of samplers
    least: the smallest number of steps it works with
    """

    order: int
    calls: int
    fresh: bool
    when: str
    least: int = 1


SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddpm_beta": ddpm_beta,
    "ddpm_learned": ddpm_learned,
    "ddim": ddim,
    "euler": euler,
    "euler_a": euler_a,
    "heun": heun,
    "dpm2": dpm2,
    "dpm2_a": dpm2_a,
    "edm": edm,
    "lms": lms,
    "plms": plms,
    "deis": deis,
    "dpmpp_2s": dpmpp_2s,
    "dpmpp_2s_a": dpmpp_2s_a,
    "dpmpp_sde": dpmpp_sde,
    "dpmpp_2m": dpmpp_2m,
    "dpmpp_2m_sde": dpmpp_2m_sde,
    "dpmpp_3m": dpmpp_3m,
    "dpmpp_3m_sde": dpmpp_3m_sde,
    "unipc": unipc,
    "unipc_3": unipc_3,
    "sa_solver": sa_solver,
    "restart": restart,
    "langevin": langevin,
    "consistency": consistency,
    "adaptive": adaptive,
}

ABOUT: dict[str, About] = {
    "ddpm": About(1, 1, True, "the textbook: hundreds of steps, full variety"),
    "ddpm_beta": About(1, 1, True, "the textbook's larger variance; all steps of the table"),
    "ddpm_learned": About(1, 1, True, "networks that predict their variance (--loss hybrid)"),
    "ddim": About(1, 1, False, "safe at any number of steps; inversion, interpolation"),
    "euler": About(1, 1, False, "another name for ddim without noise"),
    "euler_a": About(1, 1, True, "another name for ddpm; 20 steps and more"),
    "heun": About(2, 2, False, "a reference at 20 steps and more, twice the calls"),
    "dpm2": About(2, 2, False, "like heun, with the midpoint rule"),
    "dpm2_a": About(1, 2, True, "dpm2 with fresh noise"),
    "edm": About(2, 2, True, "best quality at many calls: noise corrects earlier errors"),
    "lms": About(4, 1, False, "smooth models, 15 steps and more, on the share grid"),
    "plms": About(2, 1, False, "smooth models, 8 steps and more, on the share grid", 2),
    "deis": About(3, 1, False, "smooth models, 8 to 20 steps, on the share grid"),
    "dpmpp_2s": About(2, 2, False, "strong guidance, where multistep methods overshoot"),
    "dpmpp_2s_a": About(1, 2, True, "dpmpp_2s with fresh noise"),
    "dpmpp_sde": About(1, 2, True, "fresh noise at 10 to 30 steps"),
    "dpmpp_2m": About(2, 1, False, "strong guidance, 8 steps and more"),
    "dpmpp_2m_sde": About(1, 1, True, "fresh noise at 15 to 50 steps"),
    "dpmpp_3m": About(3, 1, False, "smooth models without guidance"),
    "dpmpp_3m_sde": About(1, 1, True, "fresh noise at 30 steps and more"),
    "unipc": About(3, 1, False, "the default: most accurate or close to it, 5 steps and more"),
    "unipc_3": About(4, 1, False, "slightly more accurate at 8 to 20 steps without guidance"),
    "sa_solver": About(1, 1, True, "fresh noise at 15 to 50 steps"),
    "restart": About(2, 2, True, "best quality at many calls"),
    "langevin": About(1, 2, True, "the score SDE's predictor-corrector; many calls"),
    "consistency": About(0, 1, True, "students of `inkdrop distill` trained for one step"),
    "adaptive": About(3, 3, False, "a given accuracy instead of a number of steps"),
}


def canonical(name: str) -> str:
    """The name in SAMPLERS for a sampler, as it or other programs name it.

    ValueError for another name, with the nearest, and for one that also names a grid.
    """
    found = understood(name)
    if found.sampler is None or found.grid is not None:
        raise ValueError(
            f"{name!r} does not name a sampler alone; give its name, such as"
            f" {found.sampler or 'dpmpp_2m'}"
        )
    return found.sampler


def understood(name: str) -> Called:
    """The sampler here, and the grid if it says one, for any program's name of a sampler.

    ValueError for an unknown name, with the nearest, or a sampler that only other programs have.
    """
    found = sampler_called(name, tuple(SAMPLERS))
    if found.sampler is not None:
        choose("sampler", found.sampler, SAMPLERS)
    return found


def sampler(name: str) -> Sampler:
    """The sampler called `name`; ValueError suggests the nearest name if there is none."""
    return SAMPLERS[canonical(name)]


def best(process: Process) -> tuple[str, str]:
    """The default sampler and grid, chosen by measurement (benchmarks/RESULTS.md, Solvers)."""
    return "unipc", "share"
