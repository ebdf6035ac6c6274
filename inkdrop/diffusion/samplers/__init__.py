"""Samplers: short generators over a denoiser and a grid; one file each, listed here by name."""

from __future__ import annotations

from inkdrop.config import choose
from inkdrop.diffusion.samplers.ddim import ddim, euler
from inkdrop.diffusion.samplers.ddpm import ddpm, ddpm_beta
from inkdrop.diffusion.samplers.dpmpp_2m import dpmpp_2m
from inkdrop.diffusion.samplers.heun import heun
from inkdrop.diffusion.samplers.step import Sampler, Step

__all__ = [
    "SAMPLERS",
    "Sampler",
    "Step",
    "ddim",
    "ddpm",
    "ddpm_beta",
    "dpmpp_2m",
    "euler",
    "heun",
    "sampler",
]

SAMPLERS: dict[str, Sampler] = {
    "ddpm": ddpm,
    "ddpm_beta": ddpm_beta,
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "dpmpp_2m": dpmpp_2m,
}


def sampler(name: str) -> Sampler:
    """The sampler called `name`; ValueError with the nearest name if there is none."""
    return choose("sampler", name, SAMPLERS)
