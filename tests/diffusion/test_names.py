"""Names of other programs: each is understood as a sampler and a grid, or refused in words."""

from __future__ import annotations

import pytest

from inkdrop.convert.sd.schedule_settings import SCHEDULERS
from inkdrop.diffusion.names import ABSENT, CLASSES, grid_called
from inkdrop.diffusion.samplers import SAMPLERS, canonical, understood
from inkdrop.diffusion.times import GRIDS

# As the menus of A1111 and InvokeAI, the lists of ComfyUI and k-diffusion, and diffusers name them.
NAMES = {
    "DPM++ 2M": ("dpmpp_2m", None),
    "DPM++ 2M Karras": ("dpmpp_2m", "karras"),
    "dpm++ 2m karras": ("dpmpp_2m", "karras"),
    "DPM++ SDE": ("dpmpp_sde", None),
    "DPM++ SDE Karras": ("dpmpp_sde", "karras"),
    "DPM++ 2M SDE Exponential": ("dpmpp_2m_sde", "logsnr"),
    "DPM++ 3M SDE Karras": ("dpmpp_3m_sde", "karras"),
    "DPM++ 2S a Karras": ("dpmpp_2s_a", "karras"),
    "DPM2": ("dpm2", None),
    "DPM2 a Karras": ("dpm2_a", "karras"),
    "DPM adaptive": ("adaptive", None),
    "Euler": ("euler", None),
    "Euler a": ("euler_a", None),
    "LMS Karras": ("lms", "karras"),
    "Heun": ("heun", None),
    "DDIM": ("ddim", None),
    "DDPM": ("ddpm", None),
    "PLMS": ("plms", None),
    "UniPC": ("unipc", None),
    "LCM": ("consistency", None),
    "Restart": ("restart", None),
    "Automatic": (None, None),
    "euler_ancestral": ("euler_a", None),
    "dpm_2_ancestral": ("dpm2_a", None),
    "dpmpp_2s_ancestral": ("dpmpp_2s_a", None),
    "dpmpp_2m_sde_gpu": ("dpmpp_2m_sde", None),
    "uni_pc": ("unipc_3", None),
    "uni_pc_bh2": ("unipc", None),
    "sa_solver": ("sa_solver", None),
    "dpmpp_2m_k": ("dpmpp_2m", "karras"),
    "kdpm_2_a": ("dpm2_a", None),
    "k_euler_a": ("euler_a", None),
    "k_dpm_2": ("dpm2", None),
    "k_dpmpp_2": ("dpmpp_2m", None),
    "k_dpmpp_2_a": ("dpmpp_2s_a", None),
    "dpm++2m_sde_bt": ("dpmpp_2m_sde", None),
    "dpm++2m karras": ("dpmpp_2m", "karras"),
    "DPM SDE": ("dpmpp_sde", None),
    "LMSD": ("lms", None),
    "DPMSolverMultistepScheduler": ("dpmpp_2m", None),
    "DPMSolverMultistepScheduler(use_karras_sigmas=True)": ("dpmpp_2m", "karras"),
    "DPMSolverMultistepScheduler(algorithm_type='sde-dpmsolver++', solver_order=3)": (
        "dpmpp_3m_sde", None,
    ),
    "DPMSolverMultistepScheduler.from_config(pipe.scheduler.config, use_karras_sigmas=True)": (
        "dpmpp_2m", "karras",
    ),
    "EulerDiscreteScheduler(timestep_spacing='trailing')": ("euler", "trailing"),
    "UniPCMultistepScheduler(solver_order=3)": ("unipc_3", None),
}  # fmt: skip
GRID_NAMES = {
    "Karras": "karras",
    "karras:5": "karras:5",
    "Karras:5": "karras:5",
    "SGM Uniform": "uniform",
    "sgm_uniform": "uniform",
    "Exponential": "logsnr",
    "exponential": "logsnr",
    "Simple": "trailing",
    "normal": "linspace",
    "ddim_uniform": "leading",
    "Beta": "beta",
    "Automatic": None,
    "tuned": "tuned",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_sampler_by_any_name(name: str) -> None:
    assert understood(name) == NAMES[name]


@pytest.mark.parametrize("name", SAMPLERS)
def test_own_names_are_what_they_are(name: str) -> None:
    for written in (name, name.upper(), name.replace("_", " "), name.replace("_", "-")):
        assert understood(written) == (name, None) and canonical(written) == name
    assert understood(f"{name} Karras") == (name, "karras")


@pytest.mark.parametrize("name", GRID_NAMES)
def test_a_grid_by_any_name(name: str) -> None:
    assert grid_called(name) == GRID_NAMES[name]
    assert all(grid_called(ours) == ours for ours in GRIDS)


def test_classes_are_what_their_files_are_read_as() -> None:
    known = {f"{name}Scheduler": ours for name, ours in CLASSES.items()}
    both = known.keys() & SCHEDULERS.keys()
    assert len(both) >= 15
    for name in both:
        assert known[name] == SCHEDULERS[name].sampler, name


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("DPM fast", "the sampler 'DPM fast' of other programs is not available here; the nearest"),
        ("DPM++ 2M SDE Heun Karras", "not available here; the nearest is dpmpp_2m_sde"),
        ("euler_cfg_pp", r"say --sampler euler --rule cfg\+\+"),
        ("TCDScheduler", "there is no sampler 'TCDScheduler'"),
        ("DPM+++ 2M", "there is no sampler"),
        ("dim", "Did you mean 'ddim'"),
        ("DPMSolverMultistepScheduler(use_karras_sigmas=x)", "cannot be read; write them as in"),
        ("DPMSolverMultistepScheduler(__import__('os'))" + "(" * 99, "cannot be read|no sampler"),
        ("DPMSolverMultistepScheduler(sigma_min=0.1)", "option sigma_min=0.1 of the sampler .* is"),
        ("DPMSolverMultistepScheduler(algorithm_type='dpmsolver')", "is not understood"),
        ("HeunDiscreteScheduler(solver_order=2)", "the sampler heun of .* has no order 2"),
    ],
)
def test_names_that_stand_for_nothing_here(name: str, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        understood(name)


def test_what_is_absent_is_no_sampler_and_its_nearest_is_one() -> None:
    assert all(name not in SAMPLERS and nearest in SAMPLERS for name, nearest in ABSENT.items())
    with pytest.raises(ValueError, match="'Align Your Steps' of other programs is not available"):
        grid_called("Align Your Steps")
    with pytest.raises(ValueError, match=r"does not name a sampler alone; .*dpmpp_2m"):
        canonical("DPM++ 2M Karras")
